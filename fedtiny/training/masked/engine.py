"""Training masked-dense in PyTorch, as the federation asks for it.

PyTorch is optional: whatever needs it is imported when a trainer is made, so that memory can be
planned, and an engine be chosen, without it.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.memory.ledger import MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.engine import UNBOUND, Masks, Quotas
from fedtiny.training.masked.memory import predict
from fedtiny.training.trainer import Labels, SgdConfig, Trainer


class MaskedDense:
    """A :class:`~fedtiny.training.engine.TrainingEngine` on dense tensors with zeros in them.

    The oracle, and the way above the crossover.

    Args:
        device: ``"cpu"`` or ``"cuda"``; memory is that of the CPU on either.
    """

    holds_zeros = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        where = "" if device == "cpu" else f", {device}"
        self.title = f"masked dense (PyTorch{where})"

    def trainer(self, graph: Graph, model: SparseModel, sgd: SgdConfig, step: StepPlan) -> Trainer:
        """A trainer that holds every weight, absent ones as zeros."""
        from fedtiny.training.masked.trainer import TorchTrainer  # noqa: PLC0415 - PyTorch is optional

        return TorchTrainer(graph, model, sgd, step.micro_batch, self.device)

    def evaluator(self, graph: Graph, model: SparseModel, step: StepPlan = UNBOUND) -> Trainer:
        """A trainer without an optimizer."""
        from fedtiny.training.masked.trainer import TorchTrainer  # noqa: PLC0415 - PyTorch is optional

        return TorchTrainer(graph, model, None, step.micro_batch, self.device)

    def steps(
        self, graph: Graph, masks: Masks, batch: int, micro_batch: int, quotas: Quotas
    ) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        """The one way there is, PyTorch's and oneDNN's allocations replayed."""
        nnz = {name: mask.nnz for name, mask in masks.items() if mask.nnz < mask.size}
        top_k = sum(quotas.values())
        yield StepPlan(micro_batch), predict(graph, batch, micro_batch, nnz or None, top_k)

    def measure(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig,
        x: Floats,
        y: Labels,
        step: StepPlan,
    ) -> int:
        """The allocator's peak, by PyTorch's profiler."""
        from fedtiny.training.masked.meter import measure_training_step  # noqa: PLC0415 - PyTorch is optional

        return measure_training_step(graph, model, sgd, x, y, step.micro_batch)
