"""Choosing the engine that trains: sparse, or masked dense."""

from __future__ import annotations

from importlib.util import find_spec

from fedtiny.engine import available, unavailable_reason
from fedtiny.errors import FedTinyError
from fedtiny.training.config import TrainingConfig
from fedtiny.training.engine import TrainingEngine
from fedtiny.training.masked.engine import MaskedDense
from fedtiny.training.sparse.engine import Sparse

CROSSOVER_DENSITY = 0.5
"""Above it PyTorch trains, where it is installed: runs recorded with it stay reproducible, and the
engine's dense kernels are no clear gain everywhere. At 100 % density a step takes PyTorch dense 1.0
(ResNet-18) to 2.9 times as long with AVX-512, but 0.9 (ResNet-18) to 2.0 times with AVX2; the
engine needs 0.5 to 0.9 of its memory (``fedtiny bench train --density 1``)."""


def engine_for(
    training: TrainingConfig, *, density: float, saved_density: float = 1.0
) -> TrainingEngine:
    """The engine that the settings ask for, or the better one for a density and the device.

    Args:
        training: which engine, on which device.
        density: part of the prunable weights that is trained, in (0, 1].
        saved_density: part of the saved activations that is kept, in (0, 1].

    Raises:
        FedTinyError: it is not installed, or there is no CUDA device; the message says how to go
            on.
    """
    choice, device = training.engine, _torch_device(training)
    if choice == "auto":
        saves = saved_density < 1 or training.activation_bits == 16
        gains = not saves and (density > CROSSOVER_DENSITY or device == "cuda")
        wants_torch = gains or training.device == "cuda" or not available()
        choice = "torch" if wants_torch and _has_torch() else "sparse"
    if choice == "sparse" and not available():
        raise FedTinyError(
            f"the sparse engine is not available: {unavailable_reason()}"
            + ("" if _has_torch() else "; or train masked-dense: pip install 'fedtiny[train]'")
        )
    if choice == "torch" and not _has_torch():
        raise FedTinyError("training.engine = 'torch' needs PyTorch: pip install 'fedtiny[train]'")
    if saved_density < 1 and training.activation_bits == 16:
        raise FedTinyError(
            f"pruning.activation_density = {saved_density:g} keeps activations in 32 bits: set "
            "training.activation_bits = 32, or pruning.activation_density = 1"
        )
    if choice == "sparse":
        return Sparse(saved_density, training.activation_bits)
    if training.activation_bits == 16:
        raise FedTinyError(
            "training.activation_bits = 16 needs the sparse engine: set training.engine = "
            "'sparse', or training.activation_bits = 32"
        )
    if saved_density < 1:
        raise FedTinyError(
            f"pruning.activation_density = {saved_density:g} needs the sparse engine: set "
            "training.engine = 'sparse', or pruning.activation_density = 1 to keep activations"
        )
    return MaskedDense(device)


def _torch_device(training: TrainingConfig) -> str:
    """``"cuda"`` or ``"cpu"``; PyTorch is not imported where the settings decide it."""
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


def notice(training: TrainingConfig, density: float) -> str:
    """What a user should know once: that a sparse run falls back to masked-dense training.

    Args:
        training, density: as for :func:`engine_for`.
    """
    sparse_wanted = training.engine == "auto" and density <= CROSSOVER_DENSITY
    if sparse_wanted and not available():
        return f"training masked-dense with PyTorch, slower and larger: {unavailable_reason()}"
    return ""


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _has_cuda() -> bool:
    if not _has_torch():
        return False
    import torch  # noqa: PLC0415 - PyTorch is optional

    return torch.cuda.is_available()
