"""Cortex-M programs built with arm-none-eabi-gcc and run on boards that QEMU emulates.

Instructions are counted, not cycles: under ``-icount shift=0`` one instruction takes one
nanosecond of virtual time, which the board's SysTick measures in steps of :attr:`Machine.tick_ns`.
Counts are repeatable to that step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedtiny import toolchain
from fedtiny.errors import FedTinyError

BOARD = Path(__file__).parent / "qemu"
"""Startup code, semihosting and linker scripts."""

COMPILE_TIMEOUT_S = 300.0

_COUNTING = {True: ("-icount", "shift=0"), False: ()}


@dataclass(frozen=True, slots=True)
class Machine:
    """An emulated board.

    Attributes:
        name: what users call it, e.g. ``"qemu-m4"``.
        board: QEMU's machine.
        flags: of the compiler, for its core.
        linker_script: in :data:`BOARD`.
        tick_ns: nanoseconds of one SysTick tick, hence instructions.
    """

    name: str
    board: str
    flags: tuple[str, ...]
    linker_script: str
    tick_ns: float


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("qemu-m0", "mps2-an385", ("-mcpu=cortex-m0",), "mps2.ld", 40),
        Machine("qemu-m3", "mps2-an385", ("-mcpu=cortex-m3",), "mps2.ld", 40),
        Machine("qemu-m4", "mps2-an386", ("-mcpu=cortex-m4",), "mps2.ld", 40),
        Machine("qemu-m7", "mps2-an500", ("-mcpu=cortex-m7",), "mps2_an500.ld", 40),
        Machine("qemu-m33", "mps2-an505", ("-mcpu=cortex-m33",), "mps2_an505.ld", 50),
        Machine(
            "qemu-m55",
            "mps3-an547",
            ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
            "mps3_an547.ld",
            31.25,
        ),
    )
}
"""By name. The M0 has no machine of its own: its code runs on the M3's."""


def machine(name: str) -> Machine:
    """The machine called ``name``.

    Raises:
        FedTinyError: there is none.

    >>> machine("qemu-m4").board
    'mps2-an386'
    """
    if name not in MACHINES:
        raise FedTinyError(f"no machine is called {name!r}; choose one of {', '.join(MACHINES)}")
    return MACHINES[name]


def build(
    target: Machine,
    sources: Sequence[Path],
    directory: Path,
    *,
    include: Sequence[Path] = (),
    flags: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Path:
    """Compile and link a program with the board's startup code.

    Args:
        target: the machine.
        sources: C and assembly files whose names differ, and objects; one of them defines
            ``int main(void)``.
        directory: where ``program.elf`` goes.
        include: directories of headers, besides :data:`BOARD` for ``board.h``.
        flags: further compiler flags; ``-O3`` unless they say otherwise.
        libraries: for the linker, after all objects.

    Raises:
        ToolchainError: the compiler is missing or rejects a source.
    """
    program = directory / "program.elf"
    command = [
        "arm-none-eabi-gcc",
        *("-mthumb", *target.flags, "-O3", "-ffunction-sections", "-fdata-sections", *flags),
        *(f"-I{path}" for path in (BOARD, *include)),
    ]
    ready = [source for source in sources if source.suffix == ".o"]
    others = [source for source in sources if source.suffix != ".o"]
    others += sorted(BOARD.glob("*.c"))
    compiled = toolchain.compile_objects(command, others, directory, COMPILE_TIMEOUT_S)
    script = (
        "-nostartfiles",
        "-Wl,--gc-sections",
        f"-L{BOARD}",
        f"-T{BOARD / target.linker_script}",
    )
    linked = [*command, *map(str, [*compiled, *ready]), *script, *libraries, "-o", str(program)]
    toolchain.run_tool(linked, directory, COMPILE_TIMEOUT_S)
    return program


def run(
    target: Machine,
    program: Path,
    directory: Path,
    timeout_s: float = 60.0,
    counted: bool = True,
    plugin: Sequence[str] = (),
) -> str:
    """What the program printed; files it reads are looked up in ``directory``.

    Args:
        target: that it was built for.
        program: from :func:`build`.
        directory: its working directory.
        timeout_s: for all of it.
        counted: whether ticks count instructions; else they mean nothing, and it runs several
            times as fast.
        plugin: QEMU's arguments that load one, see :mod:`fedtiny.boards.blocks`.

    Raises:
        ToolchainError: QEMU is missing, the program faults, exits with a status other than 0 or
            takes longer than ``timeout_s``.
    """
    command = [
        "qemu-system-arm",
        *("-M", target.board, "-kernel", str(program), *_COUNTING[counted]),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        *plugin,
    ]
    done = toolchain.run_tool(command, directory, timeout_s)
    return done.stdout + done.stderr
