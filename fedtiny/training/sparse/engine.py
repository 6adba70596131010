"""Training on the compiled engine, as the federation asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.engine import EngineOptions
from fedtiny.engine.library import load
from fedtiny.memory.ledger import MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.engine import UNBOUND, Masks, Quotas
from fedtiny.training.sparse import memory
from fedtiny.training.sparse.meter import measure_training_step
from fedtiny.training.sparse.trainer import EngineTrainer
from fedtiny.training.trainer import Labels, SgdConfig, Trainer


class Sparse:
    """A :class:`~fedtiny.training.engine.TrainingEngine` whose cost goes with the weights held.

    Args:
        activation_density: part of the saved activations that training keeps.
        activation_bits: in which training stores them, 32 or 16.
    """

    holds_zeros = False

    def __init__(self, activation_density: float = 1.0, activation_bits: int = 32) -> None:
        stored = "" if activation_bits == 32 else f", activations of {activation_bits} bits"
        self.title = f"sparse ({load().instruction_sets[0]}{stored})"
        self._activation_density, self._activation_bits = activation_density, activation_bits

    def trainer(self, graph: Graph, model: SparseModel, sgd: SgdConfig, step: StepPlan) -> Trainer:
        """A trainer that holds the present weights only."""
        return EngineTrainer(graph, model, sgd, self._options(step.micro_batch, step.recompute))

    def evaluator(self, graph: Graph, model: SparseModel, step: StepPlan = UNBOUND) -> Trainer:
        """A trainer without optimizer settings."""
        return EngineTrainer(graph, model, None, self._options(step.micro_batch, step.recompute))

    def steps(
        self, graph: Graph, masks: Masks, batch: int, micro_batch: int, quotas: Quotas
    ) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        """Ways to do a training step: each one recomputes one convolution more."""
        return memory.steps(graph, masks, batch, self._options(micro_batch), quotas)

    def measure(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig,
        x: Floats,
        y: Labels,
        step: StepPlan,
    ) -> int:
        """Bytes of the arrays that a real training step allocated."""
        options = self._options(step.micro_batch, step.recompute)
        return measure_training_step(graph, model, sgd, x, y, options)

    def _options(self, micro_batch: int, recompute: tuple[str, ...] = ()) -> EngineOptions:
        return EngineOptions(
            micro_batch,
            recompute=recompute,
            activation_density=self._activation_density,
            activation_bits=self._activation_bits,
        )
