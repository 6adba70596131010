"""An exported firmware project on an emulated board: its self-test, instructions by layer, stack.

Counts are executed instructions (:mod:`fedtiny.boards.qemu`), and if asked for, the cycles that a
model gives them (:mod:`fedtiny.boards.cortex_m4`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedtiny.boards import blocks, elf, qemu
from fedtiny.boards.cmsis_nn import CmsisNN
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.boards.image import image_sizes
from fedtiny.boards.kernels import CompiledKernels, compile_portable, compile_with_cmsis_nn
from fedtiny.boards.step_failure import check_steps
from fedtiny.errors import FedTinyError
from fedtiny.firmware.vectors import shorten
from fedtiny.text_files import read_json
from fedtiny.toolchain import ToolchainError

VECTORS = 16
"""Test vectors run on an emulated board, unless asked for more."""

RUN_TIMEOUT_S = 300.0

_WEIGHTS = '-DMODEL_WEIGHTS_ATTRIBUTE=__attribute__((section(".external_data")))'
_RESULT = re.compile(r"^(\d+) vectors, (\d+) mismatches$", re.MULTILINE)
_TICKS = re.compile(r"^ticks ([\d ]+)$", re.MULTILINE)
_STACK = re.compile(r"^stack (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StepCount:
    """Executed instructions of one step of the network, mean over the vectors.

    ``cycles``: modelled, of the same; None if nobody asked for them.
    """

    name: str
    instructions: int
    cycles: int | None = None


@dataclass(frozen=True, slots=True)
class Emulation:
    """A self-test on an emulated board.

    Attributes:
        vectors: test vectors run.
        mismatches: those in which any byte of the quantized input, of any step's output or of
            the logits differs from the integer reference.
        instructions: executed for one vector, quantizing included; mean over the vectors.
        quantize_instructions: of these, for quantizing the counts.
        cycles: modelled, of the same; None if nobody asked for them.
        layers: the others, in order of execution.
        stack_bytes: highest use of the stack.
        sizes: of the program without start-up code the linker shares; weights are constants.
        symbols: by size, largest first.
        image: of a whole program around the model, see :mod:`fedtiny.boards.image`; None if nobody
            built one.
    """

    vectors: int
    mismatches: int
    instructions: int
    quantize_instructions: int
    layers: tuple[StepCount, ...]
    stack_bytes: int
    sizes: elf.ElfSizes
    symbols: tuple[elf.Symbol, ...] = field(repr=False)
    image: elf.ElfSizes | None = None
    cycles: int | None = None


def verify(
    firmware: Path, machine: str, vectors: int = VECTORS, library: CmsisNN | None = None
) -> Emulation:
    """Build an exported project for an emulated board and run its self-test there.

    Args:
        firmware: as written by :func:`fedtiny.export.bundle.export`.
        machine: one of :data:`fedtiny.boards.qemu.MACHINES`.
        vectors: at most so many of the project's test vectors.
        library: computes the dense layers; None for the project's own portable kernels.

    Raises:
        ToolchainError: a tool is missing, the build fails or the program faults.
        StepFailedError: a kernel refuses its layer.
        FedTinyError: no such machine, or no such project.
    """
    target = qemu.machine(machine)
    firmware = firmware.resolve()
    manifest = _manifest(firmware)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        runtime, objects = firmware / "fedtiny_nn", directory / "kernels"
        if library is None:
            kernels = compile_portable(target, objects, runtime)
        else:
            kernels = compile_with_cmsis_nn(target, objects, library, runtime)
        program = build(target, firmware, directory, kernels=kernels)
        content = (firmware / "vectors.bin").read_bytes()
        (directory / "vectors.bin").write_bytes(shorten(content, vectors))
        names = [layer["name"] for layer in manifest["sizes"]["layers"]]
        found = run(target, program, directory, names)
        image = image_sizes(
            target, firmware, directory / "image", kernels=kernels, flags=(_WEIGHTS,)
        )
        return replace(found, image=image)


def build(
    target: qemu.Machine,
    firmware: Path,
    directory: Path,
    *,
    kernels: CompiledKernels,
    weights: Path | None = None,
) -> Path:
    """The project's self-test as a program for ``target``.

    Args:
        target: the machine.
        firmware: the project.
        directory: where the program goes.
        kernels: compiled for the machine.
        weights: a source to take the place of ``model_weights.c``.
    """
    flags = ["-std=gnu99", "-DFEDTINY_BOARD", _WEIGHTS]
    return qemu.build(
        target,
        [
            *(firmware / "main.c", firmware / "model.c"),
            weights or firmware / "model_weights.c",
            *kernels.objects,
        ],
        directory,
        include=(firmware, *kernels.include),
        flags=(*flags, *kernels.flags),
    )


def run(
    target: qemu.Machine,
    program: Path,
    directory: Path,
    names: Sequence[str],
    timeout_s: float = RUN_TIMEOUT_S,
    timing: CortexM4 | None = None,
) -> Emulation:
    """Run a self-test that :func:`build` made on the ``vectors.bin`` in ``directory``.

    Args:
        target: the machine.
        program: the self-test.
        directory: its working directory.
        names: of the steps, in order.
        timeout_s: for the whole run.
        timing: models cycles, for a machine with that core; takes gcc.
    """
    plugin = () if timing is None else blocks.plugin_flags(program, directory)
    printed = qemu.run(target, program, directory, timeout_s, plugin=plugin)
    check_steps(target.name, printed)
    found = (_RESULT.search(printed), _TICKS.search(printed), _STACK.search(printed))
    if None in found:
        raise ToolchainError(f"the self-test on {target.name} reported no result:\n{printed}")
    result, ticks, stack = (list(map(int, " ".join(m.groups()).split())) for m in found if m)
    vectors, mismatches = result
    counts = [round(t * target.tick_ns / max(vectors, 1)) for t in ticks]
    cycles: Sequence[int | None] = [None] * len(counts)
    if timing is not None:
        cycles = _cycles(program, directory, timing, len(counts), max(vectors, 1))
    return Emulation(
        vectors=vectors,
        mismatches=mismatches,
        instructions=sum(counts),
        quantize_instructions=counts[0],
        layers=tuple(map(StepCount, names, counts[1:], cycles[1:])),
        stack_bytes=stack[0],
        sizes=elf.sizes([program]),
        symbols=elf.symbols(program),
        cycles=None if timing is None else sum(count or 0 for count in cycles),
    )


def _cycles(
    program: Path, directory: Path, timing: CortexM4, parts: int, vectors: int
) -> Sequence[int]:
    """Of each part that is counted, mean over the vectors: every second segment is one of them."""
    found = blocks.measured(blocks.executed(directory), program, timing)
    of = [0] * parts
    for segment, work in found.items():
        if segment % 2 == 1:
            of[segment // 2 % parts] += work.cycles
    return [round(cycles / vectors) for cycles in of]


def _manifest(firmware: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    path = firmware / "manifest.json"
    if not path.is_file():
        raise FedTinyError(f"{firmware} holds no exported model; write one with `fedtiny export`")
    manifest: dict[str, dict[str, list[dict[str, str]]]] = read_json(path)
    return manifest
