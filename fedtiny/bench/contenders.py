"""The ways to train that are compared: dense, masked dense, sparse, and sparse in less memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fedtiny.bench.workload import Workload
from fedtiny.engine import EngineOptions
from fedtiny.sparse.tensor import Floats
from fedtiny.training.sparse import meter as engine_meter
from fedtiny.training.sparse.trainer import EngineTrainer
from fedtiny.training.trainer import Labels


class Steps(Protocol):
    """Something that takes optimizer steps."""

    def step(self, x: Floats, y: Labels) -> float:
        """One optimizer step on a batch; its mean loss."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a workload.

    Attributes:
        make: a fresh trainer.
        measure: peak bytes of its training step, everything counted, by running one.
        flops: that a step of it executes.
    """

    make: Callable[[], Steps]
    measure: Callable[[], int]
    flops: int


def contenders(work: Workload, recompute: tuple[str, ...] | None = None) -> dict[str, Contender]:
    """``dense``, ``masked``, ``sparse`` and ``sparse_16_bits``, whose activations have so many;
    ``sparse_recompute`` if layers are given for it."""
    found = {
        "dense": _dense(work),
        "masked": masked(work),
        "sparse": sparse(work),
        "sparse_16_bits": sparse(work, activation_bits=16),
    }
    if recompute is not None:
        found["sparse_recompute"] = sparse(work, recompute)
    return found


def _dense(work: Workload) -> Contender:
    from fedtiny.bench.torch_contenders import dense  # noqa: PLC0415 - PyTorch is optional

    return dense(work)


def masked(work: Workload) -> Contender:
    """Our PyTorch trainer of dense tensors and masks."""
    import torch  # noqa: PLC0415 - PyTorch is optional

    from fedtiny.training.masked import meter as torch_meter  # noqa: PLC0415 - PyTorch is optional
    from fedtiny.training.masked.trainer import TorchTrainer  # noqa: PLC0415 - PyTorch is optional

    def make() -> TorchTrainer:
        trainer = TorchTrainer(work.graph, work.sparse, work.sgd, work.micro_batch)
        torch.set_num_threads(work.threads)  # the trainer sets one
        return trainer

    def measure() -> int:
        x, y = work.x[: work.batch], work.y[: work.batch]
        return torch_meter.measure_training_step(
            work.graph, work.sparse, work.sgd, x, y, work.micro_batch
        )

    return Contender(make, measure, work.flops())


def sparse(work: Workload, recompute: tuple[str, ...] = (), activation_bits: int = 32) -> Contender:
    """Our engine."""
    options = EngineOptions(
        work.micro_batch, work.threads, recompute, activation_bits=activation_bits
    )

    def make() -> EngineTrainer:
        return EngineTrainer(work.graph, work.sparse, work.sgd, options)

    def measure() -> int:
        x, y = work.x[: work.batch], work.y[: work.batch]
        return engine_meter.measure_training_step(work.graph, work.sparse, work.sgd, x, y, options)

    return Contender(make, measure, work.flops(work.nnz))
