"""Machine code as text: what arm-none-eabi-objdump says of a program, by address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedtiny import toolchain

_TIMEOUT_S = 120.0
_LINE = re.compile(
    r"^\s*(?P<address>[0-9a-f]+):\t(?P<code>(?:[0-9a-f]{4} ?){1,2})\s*\t"
    r"(?P<mnemonic>[a-z][a-z0-9]*)(?:\.[nw])?(?:\t(?P<operands>[^@;\n]*))?",
    re.MULTILINE,
)
_ALIASES = {"sl": "r10", "fp": "r11", "ip": "r12", "r13": "sp", "r14": "lr", "r15": "pc"}
_REGISTER = re.compile(r"\b(?:r1[0-5]|r[0-9]|sl|fp|ip|sp|lr|pc)\b")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        address: in bytes.
        nbytes: 2 or 4.
        mnemonic: lower case, condition and ``s`` included, without ``.n`` and ``.w``.
        operands: as written, without comments.
    """

    address: int
    nbytes: int
    mnemonic: str
    operands: str

    @property
    def fields(self) -> Sequence[str]:
        """The operands, split at commas outside of braces and brackets."""
        return [part.strip() for part in re.split(r",(?![^\[{]*[\]}])", self.operands)]


def registers(text: str) -> list[str]:
    """Names of the core registers in ``text``, each in one spelling; ranges are not expanded.

    >>> registers("[sl, r3, lsl #2]"), registers("{r4, ip, lr}")
    (['r10', 'r3'], ['r4', 'r12', 'lr'])
    """
    return [_ALIASES.get(name, name) for name in _REGISTER.findall(text)]


def parse(text: str) -> dict[int, Instruction]:
    """What objdump printed, by address; data within code is left out.

    >>> list(parse("     e38:\\te9d6 ce02 \\tldrd\\tip, lr, [r6, #8]").values())
    [Instruction(address=3640, nbytes=4, mnemonic='ldrd', operands='ip, lr, [r6, #8]')]
    """
    found = {}
    for match in _LINE.finditer(text):
        address, nbytes = int(match["address"], 16), len(match["code"].split()) * 2
        operands = (match["operands"] or "").strip()
        found[address] = Instruction(address, nbytes, match["mnemonic"], operands)
    return found


def disassemble(program: Path) -> Mapping[int, Instruction]:
    """The program's code.

    Raises:
        ToolchainError: arm-none-eabi-objdump is missing or fails.
    """
    command = ["arm-none-eabi-objdump", "-d", str(program)]
    return parse(toolchain.run_tool(command, program.parent, _TIMEOUT_S).stdout)
