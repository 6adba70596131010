"""Which blocks of a program an emulated board executed, and how often: QEMU with a plugin.

The plugin (``programs/executed_blocks.c``) is compiled for the host on demand; it was run with QEMU
7.2 only. A run falls into segments: a new one begins whenever the program calls the function that
is the mark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fedtiny import toolchain
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.boards.disassembly import Instruction, disassemble
from fedtiny.errors import FedTinyError

PLUGIN = Path(__file__).parent / "programs" / "executed_blocks.c"
MARK = "board_ticks"
"""Read before and after whatever a program on an emulated board measures."""

_COMPILE_TIMEOUT_S = 60.0
_QEMU_VERSION = re.compile(r"version (\d+)\.(\d+)")
_SECOND_INTERFACE = (8, 2)
"""QEMU's first version that does not load plugins of the first version of its interface."""

_OUT = "blocks.txt"


class Block(NamedTuple):
    """Consecutive instructions that were executed together in one segment.

    Attributes:
        segment: of the run, from 0.
        address, nbytes: where they are.
        instructions: their number.
        executed: how often.
        left: how often what followed began elsewhere than at their end.
    """

    segment: int
    address: int
    nbytes: int
    instructions: int
    executed: int
    left: int


@dataclass(frozen=True, slots=True)
class Work:
    """Executed instructions, and cycles that a model gives them."""

    instructions: int
    cycles: int


def plugin_flags(program: Path, directory: Path) -> tuple[str, ...]:
    """Compile the plugin into ``directory``; QEMU's arguments that load it for ``program``.

    Raises:
        ToolchainError: gcc or QEMU is missing or fails.
        FedTinyError: the program does not have the mark.
    """
    plugin = compiled_plugin(directory, "qemu-system-arm")
    return plugin_options(plugin, directory, _address_of(program, MARK))


def compiled_plugin(directory: Path, emulator: str) -> Path:
    """The plugin, compiled into ``directory`` for this machine's ``emulator``.

    Raises:
        ToolchainError: gcc or the emulator is missing or fails.
    """
    library = directory / "executed_blocks.so"
    interface = f"-DPLUGIN_VERSION={_interface(directory, emulator)}"
    command = ["gcc", "-O2", "-shared", "-fPIC", interface, str(PLUGIN), "-o", str(library)]
    toolchain.run_tool(command, directory, _COMPILE_TIMEOUT_S)
    return library


def plugin_options(plugin: Path, directory: Path, mark: int = 0) -> tuple[str, ...]:
    """QEMU's arguments that load it; a run is cut at address ``mark``, or is one segment."""
    return ("-plugin", f"file={plugin},mark={mark:#x},out={directory / _OUT}")


def _interface(directory: Path, emulator: str) -> int:
    """Version of the interface that this machine's QEMU loads plugins of."""
    command = [emulator, "--version"]
    said = toolchain.run_tool(command, directory, _COMPILE_TIMEOUT_S).stdout
    found = _QEMU_VERSION.search(said)
    newer = found is not None and tuple(map(int, found.groups())) >= _SECOND_INTERFACE
    return 2 if newer else 1


def executed(directory: Path) -> list[Block]:
    """The blocks of the last run with :func:`plugin_flags` in ``directory``."""
    lines = (directory / _OUT).read_text(encoding="ascii").splitlines()
    return [Block(*map(int, line.split())) for line in lines]


def measured(blocks: Sequence[Block], program: Path, timing: CortexM4) -> Mapping[int, Work]:
    """By segment: what was executed between one mark and the next.

    Args:
        blocks: of one run.
        program: that ran.
        timing: gives them cycles.

    Raises:
        ToolchainError: the program cannot be disassembled.
        FedTinyError: the model does not know an instruction, or a block is not in the program.
    """
    code = disassemble(program)
    costs = {}
    found: dict[int, Work] = {}
    for block in blocks:
        place = (block.address, block.nbytes)
        if place not in costs:
            costs[place] = timing.cost(_code_of(block, code))
        cost, work = costs[place], found.get(block.segment, Work(0, 0))
        found[block.segment] = Work(
            work.instructions + block.instructions * block.executed,
            work.cycles + cost.executed * block.executed + cost.left * block.left,
        )
    return found


def _code_of(block: Block, code: Mapping[int, Instruction]) -> list[Instruction]:
    address, found = block.address, []
    while address < block.address + block.nbytes:
        if address not in code:
            raise FedTinyError(f"code at {address:#x} was executed that is not in the program")
        found.append(code[address])
        address += code[address].nbytes
    return found


def _address_of(program: Path, name: str) -> int:
    with program.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        found = table.get_symbol_by_name(name) if isinstance(table, SymbolTableSection) else None
    if not found:
        raise FedTinyError(f"{program} has no function {name}, which marks what is measured")
    return int(found[0]["st_value"]) & ~1  # the lowest bit says that it is Thumb code
