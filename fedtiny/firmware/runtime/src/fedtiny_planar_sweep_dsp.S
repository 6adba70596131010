/* SPDX-License-Identifier: Apache-2.0
 *
 * The planar sweep for cores with the DSP extension and without MVE (Cortex-M4, M7, M33).
 *
 *     void fedtiny_planar_sweep_dsp(const dsp_sweep *sweep)        see fedtiny_planar_sweep.c
 *     void fedtiny_planar_sweep_dsp_shifted(const dsp_sweep *sweep)
 *
 * A tile is 4 cells, hence 8 outputs, whose lanes stay in four register pairs while all entries
 * are applied to them. Entries come in pairs; an entry of weight 0 in first place ends the list,
 * one in second place adds nothing.
 */
#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)

    .syntax unified
    .thumb
    .text

/* Positions in the copy of *sweep on the stack. */
#define ENTRIES 0
#define CELLS 4
#define ROW_TILE_BYTES 8
#define OUTPUT 12
#define START 16
#define MULTIPLIER 24 /* followed by addend and high step */
#define OUTPUT_STEP 36
#define ROWS 40
#define NEXT_ROW_CELLS 44
#define NEXT_ROW_OUTPUT 48
#define RIGHT_SHIFT 52
#define ROW_END 56 /* ours: where the row's tiles end */
#define TILE_CELLS 60 /* ours */
#define FRAME 64

/* Registers that hold one thing throughout. */
#define cells r11

/* Add an entry's products to the lanes; its offset is in r6, its weight in r7. */
.macro ACCUMULATE
    add     r6, cells
    ldrd    r12, lr, [r6]
    smlal   r0, r1, r12, r7
    smlal   r2, r3, lr, r7
    ldrd    r12, lr, [r6, #8]
    smlal   r4, r5, r12, r7
    smlal   r8, r9, lr, r7
.endm

/* Split lanes into two sums, requantize, saturate and store them; then move to the next output.
 * r6 doubled multiplier, r7 output offset, r10 high step, r12 output step, lr output. The low
 * lane is 24 bits above 8 zeros; its sign was borrowed from the high lane. */
.macro STORE low, high
    add     \high, \high, \low, lsr #31
    asr     \low, \low, #8
    smmlar  \high, \high, r6, r7
    smmlar  \low, \low, r6, r7
    ssat    \high, #8, \high
    ssat    \low, #8, \low
    strb    \high, [lr, r10]
    strb    \low, [lr]
    add     lr, r12
.endm

/* The same with shifts: r6 multiplier, r7 addend, r11 shift. The doubled low sum is its lane without
 * the 8 zeros but one. */
.macro STORE_SHIFTED low, high
    add     \high, \high, \low, lsr #31
    asr     \low, \low, #7
    lsl     \high, \high, #1
    smmulr  \low, \low, r6
    smmulr  \high, \high, r6
    add     \low, \low, \low, asr #31
    add     \high, \high, \high, asr #31
    add     \low, r7
    add     \high, r7
    asr     \low, r11
    asr     \high, r11
    ssat    \low, #8, \low
    ssat    \high, #8, \high
    strb    \high, [lr, r10]
    strb    \low, [lr]
    add     lr, r12
.endm

.macro SWEEP name, shifted
    .global \name
    .type   \name, %function
    .thumb_func
    .p2align 3
\name:
    push    {r4-r11, lr}
    sub     sp, #FRAME
    mov     r12, sp
    ldmia   r0!, {r1-r7}
    stmia   r12!, {r1-r7}
    ldmia   r0!, {r1-r7}
    stmia   r12!, {r1-r7}
    ldr     cells, [sp, #CELLS]

.Lnext_row\@:
    ldr     r0, [sp, #ROW_TILE_BYTES]
    add     r0, cells
    str     r0, [sp, #ROW_END]

.Lnext_tile\@:
    ldrd    r0, r1, [sp, #START]
    mov     r2, r0
    mov     r3, r1
    mov     r4, r0
    mov     r5, r1
    mov     r8, r0
    mov     r9, r1
    ldr     r10, [sp, #ENTRIES]
    b       .Lnext_pair\@

    .p2align 2
.Lnext_pair\@:
    ldmia   r10!, {r6, r7}
    cbz     r7, .Ltile_done\@
    ACCUMULATE
    ldmia   r10!, {r6, r7}
    ACCUMULATE
    b       .Lnext_pair\@

.Ltile_done\@:
    add     r10, sp, #MULTIPLIER
    ldmia   r10, {r6, r7, r10, r12}
    ldr     lr, [sp, #OUTPUT]
    .if \shifted
    str     cells, [sp, #TILE_CELLS]
    ldr     r11, [sp, #RIGHT_SHIFT]
    STORE_SHIFTED r0, r1
    STORE_SHIFTED r2, r3
    STORE_SHIFTED r4, r5
    STORE_SHIFTED r8, r9
    ldr     cells, [sp, #TILE_CELLS]
    .else
    STORE   r0, r1
    STORE   r2, r3
    STORE   r4, r5
    STORE   r8, r9
    .endif
    add     cells, #16
    ldr     r0, [sp, #ROW_END]
    str     lr, [sp, #OUTPUT]
    cmp     cells, r0
    bne     .Lnext_tile\@

    ldrd    r0, r1, [sp, #NEXT_ROW_CELLS]
    add     cells, r0
    add     lr, r1
    str     lr, [sp, #OUTPUT]
    ldr     r0, [sp, #ROWS]
    subs    r0, #1
    str     r0, [sp, #ROWS]
    bne     .Lnext_row\@

    add     sp, #FRAME
    pop     {r4-r11, pc}
    .size   \name, .-\name
.endm

    SWEEP   fedtiny_planar_sweep_dsp, 0
    SWEEP   fedtiny_planar_sweep_dsp_shifted, 1

#endif

#if defined(__ELF__) && defined(__linux__)
    .section .note.GNU-stack,"",%progbits
#endif
