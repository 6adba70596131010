/* SPDX-License-Identifier: Apache-2.0
 *
 * The planar sweep for cores with the DSP extension and without MVE (Cortex-M4, M7, M33).
 *
 *     void fedtiny_planar_sweep_dsp(const dsp_sweep *sweep)        see fedtiny_planar_sweep.c
 *     void fedtiny_planar_sweep_dsp_shifted(const dsp_sweep *sweep)
 *
 * A tile is 4 cells, hence 8 outputs, whose lanes stay in four register pairs while all entries
 * are applied to them. The loop applies eight entries; it is entered in the middle, so that what
 * is left over comes first. An entry of offset -1 ends the list: added to an address it carries.
 *
 * Scheduled for the Cortex-M4's pipeline, which waits a cycle for an address that the instruction
 * before computed: the next entry is read before the last product of this one, and its weight and
 * this one's take turns in r7 and r12.
 */
#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)

    .syntax unified
    .thumb
    .text

/* On the stack: what every tile starts with, in the order of the registers r0-r5, r7-r10, r12, pc. */
#define LANES 0
#define NO_WEIGHT_ODD 24
#define LAST_LANE 28
#define ENTRIES 36 /* followed by NO_WEIGHT_EVEN */
#define ENTER 44
/* The rest of *sweep, in its order. */
#define MULTIPLIER 48 /* followed by addend, high step and output step */
#define OUTPUT 64
#define ROW_TILE_BYTES 68
#define ROWS 72
#define NEXT_ROW_CELLS 76
#define NEXT_ROW_OUTPUT 80
#define RIGHT_SHIFT 84
#define ROW_END 88 /* ours: where the row's tiles end */
#define TILE_CELLS 92 /* ours */
#define FRAME 96

/* Registers that hold one thing throughout. */
#define cells r11

/* Bytes of APPLY, and those before it reads the next entry. */
#define APPLY_SHIFT 5
#define APPLY_HEAD 20

/* Add an entry's products to the lanes; its cells are at r6. Then the next entry: cells to r6,
 * weight to `data`; the carry says that there is none. */
.macro APPLY weight, data
    ldrd    \data, lr, [r6]
    smlal   r0, r1, \data, \weight
    smlal   r2, r3, lr, \weight
    ldrd    \data, lr, [r6, #8]
    smlal   r4, r5, \data, \weight
    ldmia.w r10!, {r6, \data}
    adds.w  r6, r6, cells
    smlal   r8, r9, lr, \weight
.endm

/* The sign of the low lane was borrowed from the high lane. */
.macro RETURN_SIGN low, high
    add     \high, \high, \low, lsr #31
.endm

/* Requantize, saturate and store the sums of two lanes; then move to the next output. r6 doubled
 * multiplier, r7 output offset, r10 high step, r12 output step, lr output. The low lane is 24 bits
 * above 8 zeros. */
.macro STORE low, high
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
    ldmia   r0!, {r1-r5, cells}     /* start, entries, 0, entries' number, cells */
    strd    r1, r2, [sp, #LANES]
    strd    r1, r2, [sp, #LANES + 8]
    strd    r1, r2, [sp, #LANES + 16]
    strd    r1, r2, [sp, #LAST_LANE]
    strd    r3, r4, [sp, #ENTRIES]
    str     r4, [sp, #NO_WEIGHT_ODD]
    mvn     r5, r5
    and     r5, #7                  /* the entry that is read there is the first */
    adr.w   r6, .Lnext_eight\@ + APPLY_HEAD + 1 /* + 1: Thumb code */
    add     r6, r6, r5, lsl #APPLY_SHIFT
    str     r6, [sp, #ENTER]
    add     r12, sp, #MULTIPLIER
    ldmia   r0, {r1-r10}
    stmia   r12, {r1-r10}

.Lnext_row\@:
    ldr     r0, [sp, #ROW_TILE_BYTES]
    add     r0, cells
    str     r0, [sp, #ROW_END]

.Lnext_tile\@:
    ldmia.w sp, {r0-r5, r7-r10, r12, pc}

    .p2align 2
.Lnext_eight\@:
    .rept 4
    APPLY   r7, r12
    APPLY   r12, r7
    .endr
    bcc     .Lnext_eight\@

    add     r10, sp, #MULTIPLIER
    RETURN_SIGN r0, r1
    RETURN_SIGN r2, r3
    RETURN_SIGN r4, r5
    RETURN_SIGN r8, r9
    ldmia   r10, {r6, r7, r10, r12, lr}
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
    ldr     r0, [sp, #ROWS]
    str     lr, [sp, #OUTPUT]
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
