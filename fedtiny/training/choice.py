"""The ways to train, each with its memory model and its meter: sparse, or masked dense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Protocol

from fedtiny.config import RunConfig
from fedtiny.engine import available, unavailable_reason
from fedtiny.engine.library import load
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.masked import memory as torch_memory
from fedtiny.training.sparse import memory as engine_memory
from fedtiny.training.trainer import Labels, SgdConfig, Trainer

CROSSOVER_DENSITY = 0.5
"""Above it PyTorch trains, where it is installed: runs recorded with it stay reproducible, and the
engine's dense kernels are no clear gain everywhere. At 100 % density a step takes PyTorch dense 1.0
(ResNet-18) to 2.9 times as long with AVX-512, but 0.9 (ResNet-18) to 2.0 times with AVX2; the
engine needs 0.5 to 0.9 of its memory (``fedtiny bench train --density 1``)."""

UNBOUND = StepPlan(micro_batch=256)
"""How trainers that only evaluate are made where no budget binds."""

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

    def trainer(
        self, graph: Graph, model: SparseModel, sgd: SgdConfig | None, step: StepPlan
    ) -> Trainer:
        """A fresh trainer holding ``model``, which goes through its steps as planned."""

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


class Sparse:
    """The compiled engine: memory and time go with the weights that are held.

    Args:
        activation_density: part of the saved activations that training keeps.
    """

    holds_zeros = False

    def __init__(self, activation_density: float = 1.0) -> None:
        self.title = f"sparse ({load().instruction_sets[0]})"
        self._activation_density = activation_density

    def trainer(
        self, graph: Graph, model: SparseModel, sgd: SgdConfig | None, step: StepPlan
    ) -> Trainer:
        """See :class:`TrainingEngine`."""
        from fedtiny.training.sparse.trainer import EngineTrainer

        return EngineTrainer(
            graph,
            model,
            sgd,
            step.micro_batch,
            recompute=step.recompute,
            activation_density=self._activation_density,
        )

    def steps(
        self, graph: Graph, masks: Masks, batch: int, micro_batch: int, quotas: Quotas
    ) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        """See :class:`TrainingEngine`: ever more convolutions recomputed."""
        return engine_memory.steps(
            graph, masks, batch, micro_batch, quotas, self._activation_density
        )

    def measure(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig,
        x: Floats,
        y: Labels,
        step: StepPlan,
    ) -> int:
        """See :class:`TrainingEngine`: the arrays allocated."""
        from fedtiny.training.sparse.meter import measure_training_step

        return measure_training_step(
            graph,
            model,
            sgd,
            x,
            y,
            step.micro_batch,
            recompute=step.recompute,
            activation_density=self._activation_density,
        )


class MaskedDense:
    """PyTorch on dense tensors with zeros in them: the oracle, and the way above the crossover.

    Args:
        device: ``"cpu"`` or ``"cuda"``; memory is that of the CPU on either.
    """

    holds_zeros = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        where = "" if device == "cpu" else f", {device}"
        self.title = f"masked dense (PyTorch{where})"

    def trainer(
        self, graph: Graph, model: SparseModel, sgd: SgdConfig | None, step: StepPlan
    ) -> Trainer:
        """See :class:`TrainingEngine`."""
        from fedtiny.training.masked.trainer import TorchTrainer

        return TorchTrainer(graph, model, sgd, step.micro_batch, self.device)

    def steps(
        self, graph: Graph, masks: Masks, batch: int, micro_batch: int, quotas: Quotas
    ) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        """See :class:`TrainingEngine`: one way, PyTorch's and oneDNN's allocations replayed."""
        nnz = {name: mask.nnz for name, mask in masks.items() if mask.nnz < mask.size}
        top_k = sum(quotas.values())
        prediction = torch_memory.predict(graph, batch, micro_batch, nnz or None, top_k)
        yield StepPlan(micro_batch), prediction

    def measure(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig,
        x: Floats,
        y: Labels,
        step: StepPlan,
    ) -> int:
        """See :class:`TrainingEngine`: the profiler's allocator peak."""
        from fedtiny.training.masked.meter import measure_training_step

        return measure_training_step(graph, model, sgd, x, y, step.micro_batch)


def engine_for(config: RunConfig) -> TrainingEngine:
    """The engine that a run's config asks for, or the better one for its density and device.

    Raises:
        FedTinyError: it is not installed, or there is no CUDA device; the message says how to go
            on.
    """
    method, saved = config.method, config.method.saved_density
    choice, device = config.training.engine, _torch_device(config)
    if choice == "auto":
        dense = method.density > CROSSOVER_DENSITY
        gains = saved == 1 and (dense or device == "cuda")
        wants_torch = gains or config.training.device == "cuda" or not available()
        choice = "torch" if wants_torch and _has_torch() else "sparse"
    if choice == "sparse" and not available():
        raise FedTinyError(
            f"the sparse engine is not available: {unavailable_reason()}"
            + ("" if _has_torch() else "; or train masked-dense: pip install 'fedtiny[train]'")
        )
    if choice == "torch" and not _has_torch():
        raise FedTinyError("training.engine = 'torch' needs PyTorch: pip install 'fedtiny[train]'")
    if choice == "sparse":
        return Sparse(saved)
    if saved < 1:
        raise FedTinyError(
            f"pruning.activation_density = {saved:g} needs the sparse engine: set "
            "training.engine = 'sparse', or pruning.activation_density = 1 to keep activations"
        )
    return MaskedDense(device)


def _torch_device(config: RunConfig) -> str:
    """``"cuda"`` or ``"cpu"``; PyTorch is not imported where the config settles it."""
    training = config.training
    if training.device == "cpu" or training.engine == "sparse":
        return "cpu"
    if _has_cuda():
        return "cuda"
    if training.device == "cuda":
        raise FedTinyError(
            "training.device = 'cuda', but PyTorch sees no CUDA device: set it to 'auto' or 'cpu', "
            "or install a PyTorch for your GPU (make install TORCH_INDEX=pypi)"
        )
    return "cpu"


def dense_engine() -> TrainingEngine:
    """For the server's models without a mask: PyTorch on the CPU if installed, else sparse."""
    return MaskedDense() if _has_torch() else Sparse()


def notice(config: RunConfig) -> str:
    """What a user should know once: that a sparse run falls back to masked-dense training."""
    sparse_wanted = config.training.engine == "auto" and not config.method.dense_model
    if sparse_wanted and not available():
        return f"training masked-dense with PyTorch, slower and larger: {unavailable_reason()}"
    return ""


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _has_cuda() -> bool:
    if not _has_torch():
        return False
    import torch

    return torch.cuda.is_available()
