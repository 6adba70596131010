"""An exported project that learns: its lessons on this host and on emulated boards."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedtiny.boards import elf, host, qemu
from fedtiny.boards.kernels import compile_portable
from fedtiny.errors import FedTinyError
from fedtiny.toolchain import ToolchainError, run_tool

RUN_TIMEOUT_S = 600.0
FLAGS = ("-ffp-contract=off", "-fno-math-errno")
"""Products and sums rounded one by one; the square root by the core's own instruction."""

_RESULT = re.compile(
    r"^(\d+) lessons, (\d+) mismatches, (\d+) of (\d+) tests correct, (not )?sealed$", re.MULTILINE
)
_LOSS = re.compile(r"^loss ([0-9A-F]{8})$", re.MULTILINE)
_TICKS = re.compile(r"^learn ticks (\d+) (\d+) (\d+) for (\d+) windows$", re.MULTILINE)
_STACK = re.compile(r"^stack (\d+)$", re.MULTILINE)
PROGRAM = Path(__file__).parent / "programs" / "learn_image.c"


@dataclass(frozen=True, slots=True)
class Learned:
    """What a project learned of its lessons.

    Attributes:
        lessons: steps of the optimizer.
        mismatches: those whose mean loss differs from the reference's in any bit.
        losses: mean of each step, float32.
        correct, tests: windows classified correctly afterwards, and of how many.
    """

    lessons: int
    mismatches: int
    losses: tuple[float, ...]
    correct: int
    tests: int


@dataclass(frozen=True, slots=True)
class EmulatedLearning:
    """Lessons on an emulated board; counts are of executed instructions, not of cycles.

    Attributes:
        learned: as on the host.
        window_instructions: of learning one window, forward and backward.
        update_instructions: of one step of the optimizer.
        classify_instructions: of one window by learned weights; 0 without test windows.
        stack_bytes: highest use of the stack.
    """

    learned: Learned
    window_instructions: int
    update_instructions: int
    classify_instructions: int
    stack_bytes: int


def check(directory: Path, target: str = "check-learn") -> Learned:
    """Build a project that learns and run its lessons on this host.

    Args:
        directory: as written by :func:`fedtiny.export.bundle.export`.
        target: of its Makefile; ``"sanitize-learn"`` for ASan and UBSan.

    Raises:
        ToolchainError: a tool is missing, the build fails, or nothing was learned. Mismatches are
            the result.
        FedTinyError: no project that learns.
    """
    _require(directory)
    host.build(directory, "build" if target == "check-learn" else "build-sanitize")
    done = run_tool(
        ["make", "--no-print-directory", "CC=gcc", target], directory, RUN_TIMEOUT_S, (0, 2)
    )
    return _parsed(f"`make {target}` in {directory}", done.stdout + done.stderr)


def emulate(
    firmware: Path, machine: qemu.Machine, lessons: bytes | None = None, counted: bool = True
) -> EmulatedLearning:
    """Build a project that learns for an emulated board with its FPU, and run lessons there.

    Args:
        firmware: the project.
        machine: of :data:`fedtiny.boards.qemu.MACHINES`.
        lessons: in place of the project's.
        counted: whether instructions are; without, long lessons take a fraction of the time.

    Raises:
        ToolchainError: a tool is missing, the build fails, or the program faults.
        FedTinyError: no project that learns.
    """
    target = with_fpu(machine)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        program = _build(target, firmware, directory, firmware.resolve() / "learn_main.c")
        content = lessons or (firmware / "lessons.bin").read_bytes()
        (directory / "lessons.bin").write_bytes(content)
        printed = qemu.run(target, program, directory, RUN_TIMEOUT_S, counted)
        return _emulated(target, printed)


def image_sizes(firmware: Path, machine: qemu.Machine) -> elf.ElfSizes:
    """A whole program that learns and does nothing else; slots of flash and the stack are not in.

    Args:
        firmware: a project that learns, of the prefix ``model``.
        machine: as for :func:`emulate`.

    Raises:
        ToolchainError: the compiler is missing or rejects a source.
        FedTinyError: no project that learns.
    """
    with tempfile.TemporaryDirectory() as place:
        return elf.sizes([_build(with_fpu(machine), firmware, Path(place), PROGRAM)])


def _build(target: qemu.Machine, firmware: Path, directory: Path, main: Path) -> Path:
    _require(firmware)
    project = firmware.resolve()
    runtime = project / "fedtiny_nn"
    kernels = compile_portable(target, directory / "kernels", runtime)
    names = ("learn.c", "learn_start.c", "model.c", "model_weights.c")
    sources = [main, *(project / name for name in names)]
    sources += sorted((runtime / "src" / "learn").glob("*.c"))
    return qemu.build(
        target,
        [*sources, *kernels.objects],
        directory,
        include=(project, *kernels.include),
        flags=("-std=gnu99", "-DFEDTINY_BOARD", *FLAGS, *kernels.flags),
        libraries=("-lm",),
    )


def with_fpu(machine: qemu.Machine) -> qemu.Machine:
    """The machine's core with hardware float: whole programs are compiled for it or not at all."""
    hard = "-mfloat-abi=hard"
    flags = machine.flags if hard in machine.flags else (*machine.flags, hard)
    return replace(machine, flags=flags)


def _emulated(target: qemu.Machine, printed: str) -> EmulatedLearning:
    learned = _parsed(f"learning on {target.name}", printed)
    ticks, stack = _TICKS.search(printed), _STACK.search(printed)
    if ticks is None or stack is None:
        raise ToolchainError(f"the lessons on {target.name} reported no counts:\n{printed}")
    *counted, windows = (int(number) for number in ticks.groups())
    learn, update, classify = (taken * target.tick_ns for taken in counted)
    return EmulatedLearning(
        learned,
        round(learn / windows),
        round(update / learned.lessons),
        round(classify / max(1, learned.tests)),
        int(stack[1]),
    )


def _parsed(what: str, printed: str) -> Learned:
    found = _RESULT.search(printed)
    if found is None or found[5]:
        raise ToolchainError(f"{what} came to no end:\n{printed[-2000:]}")
    lessons, mismatches, correct, tests = (int(number) for number in found.groups()[:4])
    return Learned(lessons, mismatches, _losses(_LOSS.findall(printed)), correct, tests)


def _losses(words: Sequence[str]) -> tuple[float, ...]:
    return tuple(struct.unpack(">f", bytes.fromhex(word))[0] for word in words)


def _require(directory: Path) -> None:
    if not (directory / "learn.c").is_file():
        raise FedTinyError(
            f"{directory} holds no project that learns; write one: fedtiny export RUN --learn head"
        )
