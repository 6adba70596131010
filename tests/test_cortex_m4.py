"""The Cortex-M4's cycle model: sequences counted by hand, and code that an emulated board ran."""

import shutil

import pytest

from fedtiny import toolchain
from fedtiny.boards import blocks, qemu
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.boards.disassembly import Instruction, parse
from fedtiny.errors import FedTinyError

needs_board = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "gcc"))),
    reason="needs arm-none-eabi-gcc, qemu-system-arm and gcc: make firmware-test",
)


def code(text):
    """Instructions of 4 bytes each from address 0, separated by semicolons."""
    lines = [line.strip().partition(" ") for line in text.split(";")]
    return [Instruction(4 * i, 4, name, rest.strip()) for i, (name, _, rest) in enumerate(lines)]


def cycles(text, timing=None):
    return (timing or CortexM4()).cost(code(text)).executed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The four examples of section 3.3.2 of the Technical Reference Manual.
        ("ldr r0, [r1]; ldr r1, [r2]", 3),
        ("ldr r0, [r1, r2]; str r0, [r3, #20]", 3),
        ("ldr r0, [r1, r2]; str r1, [r3, r2]", 3),
        ("ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]", 4),
        # And its other words: no pipelining where the address is what was loaded,
        ("ldr r0, [r1]; ldr r2, [r0]", 4),
        # nor after a store, nor with LDRD, STRD, LDM and STM;
        ("str r0, [r1, r2]; ldr r3, [r4]", 4),
        ("str r0, [r1, #4]; ldr r3, [r4]", 3),
        ("ldrd r0, r1, [r2]; ldr r3, [r4]", 5),
        ("ldmia r0!, {r1, r2, r3}", 4),
        ("stmia r0, {r1, r2, r3, r4, r5, r6, r7, r8}", 9),
        ("push {r4, r5, r6, lr}", 5),
        # an address that the instruction before computed costs one more, one earlier does not.
        ("add r0, r1; ldr r2, [r0]", 4),
        ("add r0, r1; add r3, r4; ldr r2, [r0]", 4),
        ("add r0, r1; ldr r2, [r3]", 3),
        ("smlal r0, r1, r2, r3; ldr r4, [r1]", 4),
        ("cmp r0, r1; ldr r2, [r0]", 3),
        ("sub sp, #8; push {r4, lr}", 5),
        # Table 3-1.
        ("mul r0, r1, r2; mla r0, r1, r2, r3; smlal r0, r1, r2, r3; smlad r0, r1, r2, r3", 4),
        ("sdiv r0, r1, r2", 12),
        ("tbb [pc, r3]", 2),
        ("it ne; addne r0, #1; movs r0, r1; lsls r0, r1; uxtb16 r2, r3", 5),
        ("bne 80", 1),
        # The sweep as it was: 16 multiply-accumulates in 18 instructions, 2 of them stalled.
        (
            "ldmia r10!, {r6, r7}; cbz r7, 80; add r6, r11; ldrd r12, lr, [r6]; "
            "smlal r0, r1, r12, r7; smlal r2, r3, lr, r7; ldrd r12, lr, [r6, #8]; "
            "smlal r4, r5, r12, r7; smlal r8, r9, lr, r7; ldmia r10!, {r6, r7}; add r6, r11; "
            "ldrd r12, lr, [r6]; smlal r0, r1, r12, r7; smlal r2, r3, lr, r7; "
            "ldrd r12, lr, [r6, #8]; smlal r4, r5, r12, r7; smlal r8, r9, lr, r7; b 0",
            32,
        ),
        # As it is: 8 in 8, none stalled.
        (
            "ldrd r12, lr, [r6]; smlal r0, r1, r12, r7; smlal r2, r3, lr, r7; "
            "ldrd r12, lr, [r6, #8]; smlal r4, r5, r12, r7; ldmia r10!, {r6, r12}; "
            "adds r6, r6, r11; smlal r8, r9, lr, r7",
            14,
        ),
    ],
)
def test_sequences_counted_by_hand(text, expected):
    assert cycles(text) == expected


def test_branches_that_are_taken_refill_the_pipeline():
    assert CortexM4().cost(code("subs r0, #1; bne 0")).left == 2
    assert CortexM4(refill=3, wait_states=5).cost(code("b 0")).left == 8


def test_flash_is_waited_for_where_code_is_faster_than_its_lines():
    """Eight instructions of 4 bytes cross into one more line of 16: 6 cycles hide behind 8."""
    straight = "; ".join(["add r0, r1"] * 8)
    assert cycles(straight, CortexM4(wait_states=5)) == 8
    assert cycles(straight, CortexM4(wait_states=9)) == 10
    assert cycles(straight, CortexM4(wait_states=9, line_bytes=32)) == 8


def test_what_the_model_does_not_know_is_refused():
    with pytest.raises(FedTinyError, match=r"vmla.f32 .* no timing"):
        cycles("vmla.f32 s0, s1, s2")
    with pytest.raises(FedTinyError, match="choose 1 to 3"):
        CortexM4(refill=4)


def test_objdump_is_read_and_data_in_code_is_not():
    found = parse(
        "      4e:\td201      \tbcs.n\t54 <read_file+0x14>\n"
        "      68:\t20001010 \t.word\t0x20001010\n"
        "    2ac:\te8bd 4ff0 \tldmia.w\tsp!, {r4, r5, fp, lr}\t@ back\n"
    )
    assert found == {
        0x4E: Instruction(0x4E, 2, "bcs", "54 <read_file+0x14>"),
        0x2AC: Instruction(0x2AC, 4, "ldmia", "sp!, {r4, r5, fp, lr}"),
    }


PROGRAM = """
#include "board.h"
int main(void)
{
    uint32_t count = 1000, word = 7, address = (uint32_t)&word;
    (void)board_ticks();
    __asm volatile(".p2align 2\\n"
                   "1: ldr r3, [%1]\\n"          /* 2 */
                   "ldr r2, [%1]\\n"             /* 1 */
                   "mul r3, r2\\n"               /* 1 */
                   "subs %0, #1\\n"              /* 1 */
                   "bne 1b\\n"                   /* 1 + 2, the last time 1 */
                   : "+l"(count) : "l"(address) : "r2", "r3", "cc", "memory");
    (void)board_ticks();
    return 0;
}
"""


@pytest.mark.firmware
@needs_board
def test_executed_blocks_are_counted_between_marks(tmp_path):
    source = tmp_path / "loop.c"
    source.write_text(PROGRAM, encoding="utf-8")
    target = qemu.machine("qemu-m4")
    program = qemu.build(target, [source], tmp_path, flags=("-std=gnu99",))
    qemu.run(target, program, tmp_path, plugin=blocks.plugin_flags(program, tmp_path))
    work = blocks.measured(blocks.executed(tmp_path), program, CortexM4())
    assert 5000 <= work[1].instructions < 5000 + 40  # and the two readings of the clock
    assert 8000 - 2 <= work[1].cycles < 8000 + 60


@needs_board
def test_a_program_without_the_mark_is_refused(tmp_path):
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    toolchain.run_tool(["gcc", "main.c", "-o", "program"], tmp_path, 60)
    with pytest.raises(FedTinyError, match="no function board_ticks"):
        blocks.plugin_flags(tmp_path / "program", tmp_path)
