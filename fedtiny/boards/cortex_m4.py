"""Cycles of executed Cortex-M4 code, modelled from Arm's published timings.

The rules are those of the Cortex-M4 Technical Reference Manual (ARM DDI 0439, r0p1): table 3-1,
and section 3.3.2 on loads and stores. In its words P is the refill of the pipeline.

========================================  =====================================================
instruction                               cycles
========================================  =====================================================
data processing, multiplies, DSP, IT      1
SDIV, UDIV                                12, the most of 2 to 12
B, BL, BX, CBZ                            1, and P if taken
TBB, TBH                                  2, and P
LDR, one register                         2; 1 after another LDR whose result is not its address
STR, one register                         1 with an immediate offset; 2 with a register, or 1
                                          after an LDR whose result is not its address
LDRD, STRD                                3
LDM, STM, PUSH, POP of N registers        1 + N, and P if one of them is the PC
a load or store right after data          1 more
processing that makes its address
========================================  =====================================================

Instruction fetch from flash: every branch that is taken waits for :attr:`CortexM4.wait_states`
besides; straight code is prefetched a line ahead, hence a block that takes fewer cycles than its
lines waits for the rest.

What this cannot know: caches and prefetch buffers of a maker's flash, wait states of data that is
read from flash (weights, literals), unaligned accesses, contention with DMA, how early the core
speculates a branch (P is 1 to 3), the IT instructions that are folded. It is a model of code that
was executed, not a measurement; ratios of two programs under one model are what it is for. Of the
cores beyond, the M7 issues two instructions at a time behind caches and a branch predictor, the
M33's and M55's timings of loads, branches and overlapping vector beats are not published as a
table: there is no model of them here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedtiny.boards.disassembly import Instruction, registers
from fedtiny.errors import FedTinyError

DIVIDE_CYCLES = 12
"""Of SDIV and UDIV, at most: they end early."""

_CONDITION = r"(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
_ONE_LOAD = re.compile(rf"ldrs?[bh]?{_CONDITION}")
_ONE_STORE = re.compile(rf"str[bh]?{_CONDITION}")
_TWO = re.compile(rf"(?:ldr|str)d{_CONDITION}")
_MANY = re.compile(rf"(?:ldm|stm)(?:ia|db)?{_CONDITION}|push|pop")
_TABLE_BRANCH = re.compile(r"tb[bh]")
_BRANCH = re.compile(rf"b{_CONDITION}|bl|blx?{_CONDITION}|bx{_CONDITION}|cbn?z|bkpt|svc|udf")
_DIVIDE = re.compile(rf"[su]div{_CONDITION}")
_NO_RESULT = re.compile(
    rf"(?:cmp|cmn|tst|teq){_CONDITION}|nop|it[te]*|msr|cps[ie].*|[di][sm]b|pld.*"
)
_LONG = re.compile(rf"[su](?:mull|mlal(?:[bt][bt]|dx?)?|mlsldx?)s?{_CONDITION}|umaal")
_PLAIN = re.compile(
    r"(?:mov[wt]?|mvn|add|adc|adr|sub|sbc|rsb|neg|addw|subw"
    r"|and|orr|orn|eor|bic|lsl|lsr|asr|ror|rrx|clz|rbit|rev|rev16|revsh"
    r"|mul|mla|mls|smul[bt][bt]|smla[bt][bt]|smulw[bt]|smlaw[bt]"
    r"|smm(?:ul|la|ls)r?|smu[as]dx?|sml[as]dx?|usada?8"
    r"|[us]xta?[bh](?:16)?|[us]xta?b16|bfc|bfi|[us]bfx|pkh(?:bt|tb)|sel|[us]sat(?:16)?"
    r"|q(?:d?add|d?sub)|(?:[suq]|sh|uh|uq)(?:add8|add16|sub8|sub16|asx|sax)|mrs"
    rf")s?{_CONDITION}"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles of a block: for every time it is executed, and more if it is left by a branch."""

    executed: int
    left: int


@dataclass(frozen=True, slots=True)
class CortexM4:
    """The model's parameters.

    Attributes:
        refill: P, cycles to refill the pipeline after a branch that is taken: 1 to 3.
        wait_states: of the flash that instructions are fetched from; 0 also stands for code in
            RAM or in a cache.
        line_bytes: that the flash delivers at once.
    """

    refill: int = 2
    wait_states: int = 0
    line_bytes: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.refill <= 3 or self.wait_states < 0 or self.line_bytes < 4:
            raise FedTinyError(
                f"a refill of {self.refill} cycles with {self.wait_states} wait states for lines "
                f"of {self.line_bytes} B is no Cortex-M4; choose 1 to 3, 0 or more, 4 or more"
            )

    def cost(self, block: Sequence[Instruction]) -> Cost:
        """Cycles of consecutive instructions, entered at the first.

        Raises:
            FedTinyError: an instruction whose timing is not in the model.
        """
        cycles, before = 0, None
        for instruction in block:
            cycles += _cycles(instruction, before)
            before = instruction
        first, last = block[0].address, block[-1].address + block[-1].nbytes - 1
        lines = last // self.line_bytes - first // self.line_bytes
        waits = lines * (self.wait_states + 1) - cycles if self.wait_states else 0
        return Cost(cycles + max(0, waits), self.refill + self.wait_states)

    def __str__(self) -> str:
        return (
            f"Cortex-M4, pipeline refill {self.refill}, {self.wait_states} wait states of flash "
            f"lines of {self.line_bytes} B"
        )


def _cycles(now: Instruction, before: Instruction | None) -> int:
    name = now.mnemonic
    if _ONE_LOAD.fullmatch(name) or _ONE_STORE.fullmatch(name):
        return _one_register(now, before) + _address_stall(now, before)
    if _TWO.fullmatch(name):
        return 3 + _address_stall(now, before)
    if _MANY.fullmatch(name):
        return 1 + _list_length(now) + _address_stall(now, before)
    if _TABLE_BRANCH.fullmatch(name):
        return 2 + _address_stall(now, before)
    if _DIVIDE.fullmatch(name):
        return DIVIDE_CYCLES
    if any(kind.fullmatch(name) for kind in (_BRANCH, _NO_RESULT, _LONG, _PLAIN)):
        return 1
    raise FedTinyError(
        f"{name} {now.operands} at {now.address:#x}: the cycle model has no timing for it; it is "
        "of integer code for the Cortex-M4, add the instruction's to fedtiny/boards/cortex_m4.py"
    )


def _one_register(now: Instruction, before: Instruction | None) -> int:
    is_store = now.mnemonic.startswith("str")
    if is_store and len(_address(now)) == 1:
        return 1
    follows_load = before is not None and _ONE_LOAD.fullmatch(before.mnemonic)
    if before is not None and follows_load and registers(before.fields[0])[0] not in _address(now):
        return 1
    return 2


def _address_stall(now: Instruction, before: Instruction | None) -> int:
    if before is None:
        return 0
    return int(any(name in _results(before) for name in _address(now)))


def _address(now: Instruction) -> list[str]:
    """Registers that make the address of a load or store."""
    if now.mnemonic in ("push", "pop"):
        return ["sp"]
    inside = re.search(r"\[([^\]]*)\]", now.operands)
    return registers(inside[1] if inside else now.fields[0])


def _results(now: Instruction) -> list[str]:
    """Registers that data processing writes; none of other instructions."""
    if _LONG.fullmatch(now.mnemonic):
        return [*registers(now.fields[0]), *registers(now.fields[1])]
    if _PLAIN.fullmatch(now.mnemonic) or _DIVIDE.fullmatch(now.mnemonic):
        return registers(now.fields[0])
    return []


def _list_length(now: Instruction) -> int:
    found = re.search(r"\{([^}]*)\}", now.operands)
    return len(registers(found[1])) if found else 0
