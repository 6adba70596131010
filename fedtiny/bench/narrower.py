"""Measuring on a processor with wide vectors what one with narrower ones would do."""

from __future__ import annotations

import os
import sys

from fedtiny.engine.library import EngineError, load
from fedtiny.errors import FedTinyError

_TORCH = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
"""What keeps PyTorch's own kernels, oneDNN's and MKL's to a set; they read it when they start."""


def limit(instruction_set: str) -> None:
    """Keep the engine and PyTorch to an instruction set, for the rest of this process.

    Raises:
        FedTinyError: this machine has no such set, PyTorch cannot be kept to it, or runs already.
    """
    library = load()
    if instruction_set not in library.instruction_sets:
        known = ", ".join(library.instruction_sets)
        raise EngineError(f"no instruction set {instruction_set!r} here; choose from {known}")
    if instruction_set == library.instruction_sets[0]:
        return
    if instruction_set not in _TORCH:
        known = ", ".join([library.instruction_sets[0], *_TORCH])
        raise FedTinyError(f"PyTorch is not kept to {instruction_set!r}; choose from {known}")
    if "torch" in sys.modules:
        raise FedTinyError("PyTorch runs already and keeps its kernels; start a new process")
    os.environ |= _TORCH[instruction_set]
    library.limit(instruction_set)
