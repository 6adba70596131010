"""An exported model called from Python: the same C that a microcontroller runs."""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from ctypes import POINTER, c_char_p, c_double, c_int8, c_int16, c_int32, c_int64
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedtiny import toolchain
from fedtiny.errors import FedTinyError
from fedtiny.quant.tensors import Int8s, Int16s
from fedtiny.runs import atomic

_ADAPTER = Path(__file__).with_name("predict.c")
_FLAGS = ("-shared", "-fPIC", "-std=c99", "-O2", "-Wl,-Bsymbolic")
_COMPILE_TIMEOUT_S = 600.0
_PROGRAMS = ("main.c", "learn_main.c")  # self-tests
_BUILD = "build"  # the project's own folder of objects, which `make clean` removes


class FirmwareError(FedTinyError):
    """A folder holds no exported model, or it cannot take what it is given."""


class _Sizes(ctypes.Structure):
    """``predict_sizes`` of predict.c."""

    _fields_ = [
        (name, c_int32)
        for name in (
            *("channels", "height", "width", "classes"),
            *("arena_bytes", "arena_alignment", "output_zero_point"),
        )
    ]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A compiled model; any number of threads may call it.

    Attributes:
        library: an exported model and predict.c.

    >>> model = load("runs/demo/firmware")  # doctest: +SKIP
    >>> [model.labels[k] for k in model.predict(counts)]  # doctest: +SKIP
    ['pendulum', 'upright row']
    """

    library: ctypes.CDLL

    def predict(self, counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The class of each window: the largest logit's, the first on a tie.

        Args:
            counts: whole numbers of the int16 range, ``(N, C, H, W)`` raw sensor counts.

        Returns:
            ``(N,)``, indices of :attr:`labels`.

        Raises:
            FirmwareError: another shape, numbers that are not whole or too large, or a kernel that
                refuses its layer; the step is named.
        """
        classes: npt.NDArray[np.int64] = self.logits(counts).argmax(axis=1)
        return classes

    def logits(self, counts: npt.ArrayLike) -> Int8s:
        """int8 ``(N, classes)``: real = scale · (code − zero point), see :attr:`output_scale`."""
        windows = self._checked(counts)
        logits = np.zeros((len(windows), self._sizes.classes), np.int8)
        arena = self._arena()
        status = self.library.predict_logits(
            windows.ctypes.data_as(POINTER(c_int16)),
            len(windows),
            arena.ctypes.data_as(POINTER(c_int8)),
            logits.ctypes.data_as(POINTER(c_int8)),
        )
        if status:
            step = self.library.predict_step(status)
            where = f"step {step.decode()!r} refuses its input" if step else "the model failed"
            raise FirmwareError(f"{where} (status {status}); export it again")
        return logits

    @cached_property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one window."""
        return self._sizes.channels, self._sizes.height, self._sizes.width

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Name of each class."""
        return tuple(self.library.predict_label(k).decode() for k in range(self._sizes.classes))

    @cached_property
    def output_scale(self) -> tuple[float, int]:
        """(scale, zero point) of the logits."""
        scale = c_double.in_dll(self.library, "predict_output_scale").value
        return scale, self._sizes.output_zero_point

    @property
    def arena_bytes(self) -> int:
        """RAM that one call needs; the caller's own arrays come on top."""
        return int(self._sizes.arena_bytes)

    @cached_property
    def _sizes(self) -> _Sizes:
        return _Sizes.in_dll(self.library, "predict_sizes")

    def _arena(self) -> Int8s:
        """A fresh one for every call: calls may overlap."""
        alignment = int(self._sizes.arena_alignment)
        memory = np.zeros(self.arena_bytes + alignment, np.int8)
        start = -memory.ctypes.data % alignment
        return memory[start : start + self.arena_bytes]

    def _checked(self, counts: npt.ArrayLike) -> Int16s:
        """``(N, H, W, C)``, as the C takes them."""
        array = np.asarray(counts)
        shape = self.input_shape
        if array.ndim != 4 or array.shape[1:] != shape:
            raise FirmwareError(
                f"counts have the shape {array.shape}, the model takes (N, {shape[0]}, {shape[1]}, "
                f"{shape[2]}): windows × channels × height × width"
            )
        if array.dtype.kind not in "iu":
            raise FirmwareError(
                f"counts are {array.dtype}; the model takes a sensor's whole numbers, int16, and "
                "normalises them itself"
            )
        limits = np.iinfo(np.int16)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise FirmwareError(
                f"counts from {array.min()} to {array.max()} are not int16; scale them as the "
                "model's training data were"
            )
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1), np.int16)


def load(folder: str | Path) -> LoadedModel:
    """Compile an exported model for this machine and load it.

    It is compiled once: the library lies in the project's ``build/`` under the digest of its
    sources, or, where nothing may be written, in a temporary folder for as long as it is loaded.

    Args:
        folder: written by ``fedtiny export``, e.g. ``runs/demo/firmware``.

    Raises:
        FirmwareError: it holds no exported model, or weights that are not what was exported.
        ToolchainError: gcc is missing or rejects a source.
    """
    project = Path(folder)
    if not (project / "model.h").is_file() or not (project / "model.c").is_file():
        raise FirmwareError(f"{project} holds no exported model; write one with fedtiny export RUN")
    library = _declared(_opened(project.resolve()))
    if library.predict_init() != 0:
        raise FirmwareError(
            f"{project}: the weights are not those that were exported (CRC-32); export again"
        )
    return LoadedModel(library)


def _opened(project: Path) -> ctypes.CDLL:
    sources = [*project.glob("*.c"), *(project / "fedtiny_nn" / "src").rglob("*.c"), _ADAPTER]
    sources = sorted(path for path in sources if path.name not in _PROGRAMS)
    kept = project / _BUILD / f"predict-{_digest(project, sources)}.so"
    if kept.is_file():
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / "predict.so"
        include = [f"-I{project}", f"-I{project / 'fedtiny_nn' / 'include'}"]
        objects = toolchain.compile_objects(
            ["gcc", *_FLAGS, *include], sources, Path(scratch), _COMPILE_TIMEOUT_S
        )
        linked = ["gcc", *_FLAGS, *map(str, objects), "-lm", "-o", str(built)]
        toolchain.run_tool(linked, Path(scratch), _COMPILE_TIMEOUT_S)
        with suppress(OSError):  # where nothing may be written it is compiled each time
            kept.parent.mkdir(exist_ok=True)
            atomic.write(kept, built.read_bytes())
        return ctypes.CDLL(str(kept if kept.is_file() else built))


def _digest(project: Path, sources: Iterable[Path]) -> str:
    digest = hashlib.sha256(repr(_FLAGS).encode())
    for path in [*sources, *sorted(project.rglob("*.h"))]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    codes, counts = POINTER(c_int8), POINTER(c_int16)
    for name, arguments, result in (
        ("predict_init", [], c_int32),
        ("predict_label", [c_int32], c_char_p),
        ("predict_step", [c_int32], c_char_p),
        ("predict_logits", [counts, c_int64, codes, codes], c_int32),
    ):
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library
