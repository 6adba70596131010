"""Executed instructions of one convolution on an emulated core, ours against CMSIS-NN's dense.

Both compute the same int8 weights in the same run; outputs are compared byte for byte with an
expectation the caller brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedtiny.boards import qemu
from fedtiny.boards.native.library import RUNTIME
from fedtiny.errors import FedTinyError
from fedtiny.firmware.streams import WeightStreams

PROGRAM = Path(__file__).parent / "programs" / "layer_bench.c"

_MAGIC = 0x4C425446
_ALIGNMENT = 16
_HEAD_WORDS = 38


@dataclass(frozen=True, slots=True, eq=False)
class LayerCase:
    """One convolution and what it must compute.

    Attributes:
        x: int8 (H, W, C).
        weights: int8 (O, KH, KW, C).
        streams: the same weights as the sparse kernels read them.
        bias: int32 (O,).
        multiplier: int32 (O,).
        stride, padding: (height, width).
        input_offset: minus the input's zero point.
        output_offset: the output's zero point.
        expected: int8 (OH, OW, O).
        scratch_bytes: limit for the sparse kernels, which then work in bands; 0 for none.
        shift: int32 (O,); None for 0.
    """

    x: npt.NDArray[np.int8]
    weights: npt.NDArray[np.int8]
    streams: WeightStreams
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int32]
    stride: tuple[int, int]
    padding: tuple[int, int]
    input_offset: int
    output_offset: int
    expected: npt.NDArray[np.int8]
    scratch_bytes: int = 0
    shift: npt.NDArray[np.int32] | None = None

    def to_bytes(self) -> bytes:
        """``layer.bin``, as ``programs/layer_bench.c`` reads it."""
        shifts = np.zeros_like(self.multiplier) if self.shift is None else self.shift
        stream = np.frombuffer(self.streams.stream, np.uint8)
        arrays: list[npt.NDArray[np.generic]] = [
            *(self.x, self.weights, self.streams.entries, stream),
            *(self.bias, self.multiplier, shifts, self.expected),
        ]
        body, offsets = bytearray(4 * _HEAD_WORDS), []
        for array in arrays:
            body += bytes(-len(body) % _ALIGNMENT)
            offsets.append(len(body))
            body += array.tobytes()
        head = [
            *(_MAGIC, 1, *self.x.shape, *self.weights.shape, 1, *self.expected.shape),
            *(self.input_offset, self.output_offset, *reversed(self.stride)),
            *(*reversed(self.padding), 1, 1, -128, 127, self.scratch_bytes),
            *(self.streams.format, self.streams.max_nonzeros, len(stream), *offsets),
        ]
        body[: 4 * len(head)] = np.array(head, "<i4").tobytes()
        return bytes(body)


@dataclass(frozen=True, slots=True)
class KernelCount:
    """What one kernel did.

    Attributes:
        status: 0, or minus the kernel's status.
        mismatches: bytes that differ from the expectation.
        instructions: executed, to the machine's tick.
        scratch_bytes: lent to it.
    """

    status: int
    mismatches: int
    instructions: int
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Counts of ``dense``, ``direct`` and ``planar``, and the stack they needed."""

    dense: KernelCount
    direct: KernelCount
    planar: KernelCount
    stack_bytes: int


def build(target: qemu.Machine, directory: Path, cmsis_nn: Path | None = None) -> Path:
    """The benchmark program.

    Args:
        target: the machine.
        directory: where it goes.
        cmsis_nn: directory of CMSIS-NN with ``Include`` and ``Source`` and, beside it,
            ``cmsis_core``; None for our portable dense kernels.
    """
    sources = [PROGRAM, *sorted((RUNTIME / "src").glob("*.[cS]"))]
    include, flags = [RUNTIME / "include"], ["-std=gnu99"]
    if cmsis_nn is None:
        sources += sorted((RUNTIME / "src" / "dense").glob("*.c"))
    else:
        sources += sorted((cmsis_nn / "Source").rglob("*.c"))
        include += [cmsis_nn / "Include", cmsis_nn.parent / "cmsis_core" / "Include"]
        flags += ["-DFEDTINY_USE_CMSIS_NN", "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY"]
    return qemu.build(target, sources, directory, include=include, flags=flags)


def measure(target: qemu.Machine, program: Path, case: LayerCase, directory: Path) -> LayerCount:
    """Run a case on the program :func:`build` made.

    Raises:
        FedTinyError: the emulation failed or printed something else than counts.
    """
    (directory / "layer.bin").write_bytes(case.to_bytes())
    lines = qemu.run(target, program, directory).split("\n")
    fields = {name: list(map(int, rest)) for name, *rest in map(str.split, lines[:4])}
    if set(fields) != {"dense", "direct", "planar", "stack"}:
        raise FedTinyError(f"unexpected output of the layer benchmark: {lines}")
    counts = {name: _count(fields[name], target.tick_ns) for name in ("dense", "direct", "planar")}
    return LayerCount(**counts, stack_bytes=fields["stack"][0])


def _count(fields: Sequence[int], tick_ns: float) -> KernelCount:
    status, mismatches, ticks, scratch = fields
    return KernelCount(status, mismatches, round(ticks * tick_ns), scratch)
