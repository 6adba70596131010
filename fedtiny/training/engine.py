"""What the federation asks of a way to train: trainers, their memory in advance, a meter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from fedtiny.memory.ledger import MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.trainer import Labels, SgdConfig, Trainer

UNBOUND = StepPlan(micro_batch=256)
"""How samples are gone through where no budget binds."""

Masks = Mapping[str, Mask]
Quotas = Mapping[str, int]


class TrainingEngine(Protocol):
    """One way to train.

    Attributes:
        title: for reports, e.g. ``"sparse (avx512)"``.
        holds_zeros: whether absent weights take memory all the same.
    """

    title: str
    holds_zeros: bool

    def trainer(self, graph: Graph, model: SparseModel, sgd: SgdConfig, step: StepPlan) -> Trainer:
        """A fresh trainer holding ``model``, which goes through its steps as planned."""

    def evaluator(self, graph: Graph, model: SparseModel, step: StepPlan = UNBOUND) -> Trainer:
        """A trainer for everything but optimizer steps: evaluation, statistics, gradients."""

    def steps(
        self, graph: Graph, masks: Masks, batch: int, micro_batch: int, quotas: Quotas
    ) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        """Ways to do a training step under ``masks`` at this micro-batch, the fastest first.

        Each with its bytes in closed form, fewer than the one before needs; nothing is run.
        """

    def measure(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig,
        x: Floats,
        y: Labels,
        step: StepPlan,
    ) -> int:
        """Bytes that a real training step on batch (x, y) held at its peak."""
