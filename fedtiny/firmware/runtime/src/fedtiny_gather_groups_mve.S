/* SPDX-License-Identifier: Apache-2.0
 *
 * One output channel of the direct kernel for cores with MVE (Cortex-M55).
 *
 *     void fedtiny_gather_sweep(fedtiny_gather_sweep_arguments *arguments)     see fedtiny_gather.h
 *     void fedtiny_gather_sweep_shifted(fedtiny_gather_sweep_arguments *arguments)
 *     void fedtiny_gather_sweep_1(fedtiny_gather_sweep_arguments *arguments)   and _2, _3
 *
 * A block is eight weights and where their inputs lie. For four outputs in turn it gathers eight
 * inputs and adds their products with the weights to one sum: two instructions for eight
 * multiply-accumulates. Channels of at most three blocks keep them in registers.
 */
#if defined(__ARM_FEATURE_MVE)

    .syntax unified
    .thumb
    .text

/* Positions in *arguments. */
#define BLOCKS 0 /* followed by the number of further blocks */
#define INPUT 8
#define INPUT_STEP 12
#define GROUP_STEP 16 /* followed by that of the output */
#define GROUP_OUTPUT_STEP 20
#define OUTPUT 24
#define OUTPUT_STEP 28
#define GROUPS 32
#define ROWS_LEFT 36
#define NEXT_ROW_INPUT 40 /* followed by that of the output */
#define BIAS 48           /* followed by the multiplier */
#define MULTIPLIER 52
#define OFFSET 56
#define MIN 60
#define MAX 64
#define RIGHT_SHIFT 68

/* Registers that hold one thing throughout. */
#define input r1
#define output r10
#define arguments r11

.macro BEGIN name
    .global \name
    .type   \name, %function
    .thumb_func
    .p2align 2
\name:
    push    {r4-r11, lr}
    vpush   {d8-d15}
    mov     arguments, r0
    ldr     input, [arguments, #INPUT]
    ldr     output, [arguments, #OUTPUT]
.endm

/* Where four neighbouring outputs lie. */
.macro OUTPUT_OFFSETS vector
    ldr     r0, [arguments, #OUTPUT_STEP]
    movs    r2, #0
    vidup.u32 \vector, r2, #1
    vmul.i32 \vector, \vector, r0
.endm

/* To the next row; back to `again` unless that was the last one. */
.macro END name, again
    ldrd    r0, r2, [arguments, #NEXT_ROW_INPUT]
    add     input, r0
    add     output, r2
    ldr     r0, [arguments, #ROWS_LEFT]
    subs    r0, #1
    str     r0, [arguments, #ROWS_LEFT]
    bne     \again
    vpop    {d8-d15}
    pop     {r4-r11, pc}
    .size   \name, .-\name
.endm

/* Of both halves of a vector; not by the move to two lanes, whose order emulators disagree on. */
.macro SUMS_TO low, high
    vmov    \low, r0, r2
    vmov    \high, r4, r6
.endm

/* ---- any number of blocks ------------------------------------------------------------------ */

/* q0 offsets, q1 weights; q3 output offset, q4 output offsets, q5 minimum, q6 maximum, q7 shift. */
.macro SWEEP name, shifted
    BEGIN   \name
    OUTPUT_OFFSETS q4
    ldr     r0, [arguments, #OFFSET]
    vdup.32 q3, r0
    ldr     r0, [arguments, #MIN]
    vdup.32 q5, r0
    ldr     r0, [arguments, #MAX]
    vdup.32 q6, r0
    .if \shifted
    ldr     r0, [arguments, #RIGHT_SHIFT]
    rsb     r0, r0, #0
    vdup.32 q7, r0
    .endif
    ldr     r9, [arguments, #INPUT_STEP]

.Lrow\@:
    ldr     r12, [arguments, #GROUPS]
.Lgroup\@:
    add     r3, input, r9
    add     r5, r3, r9
    add     r7, r5, r9
    ldrd    r8, lr, [arguments, #BLOCKS]
    vldrh.u16 q0, [r8], #16
    vldrh.u16 q1, [r8], #16
    vldrb.s16 q2, [input, q0]
    vmladav.s16 r0, q2, q1
    vldrb.s16 q2, [r3, q0]
    vmladav.s16 r2, q2, q1
    vldrb.s16 q2, [r5, q0]
    vmladav.s16 r4, q2, q1
    vldrb.s16 q2, [r7, q0]
    vmladav.s16 r6, q2, q1
    wls     lr, lr, .Lsummed\@
.Lblock\@:
    vldrh.u16 q0, [r8], #16
    vldrh.u16 q1, [r8], #16
    vldrb.s16 q2, [input, q0]
    vmladava.s16 r0, q2, q1
    vldrb.s16 q2, [r3, q0]
    vmladava.s16 r2, q2, q1
    vldrb.s16 q2, [r5, q0]
    vmladava.s16 r4, q2, q1
    vldrb.s16 q2, [r7, q0]
    vmladava.s16 r6, q2, q1
    le      lr, .Lblock\@
.Lsummed\@:
    ldrd    r8, lr, [arguments, #BIAS]
    SUMS_TO d4, d5
    vadd.i32 q2, q2, r8
    vqrdmulh.s32 q2, q2, lr
    .if \shifted
    vshr.s32 q0, q2, #31
    vadd.i32 q2, q2, q0
    vrshl.s32 q2, q2, q7
    .endif
    vadd.i32 q2, q2, q3
    vmax.s32 q2, q2, q5
    vmin.s32 q2, q2, q6
    vstrb.32 q2, [output, q4]
    ldrd    r8, lr, [arguments, #GROUP_STEP]
    add     input, r8
    add     output, lr
    subs    r12, #1
    bne     .Lgroup\@
    END     \name, .Lrow\@
.endm

    SWEEP   fedtiny_gather_sweep, 0
    SWEEP   fedtiny_gather_sweep_shifted, 1

/* ---- few blocks, no shift, the whole range of int8 ------------------------------------------ */

/* r3 input step, r7 bias, r8 multiplier, r9 output offset. */
.macro LOAD_NUMBERS
    ldr     r3, [arguments, #INPUT_STEP]
    ldrd    r7, r8, [arguments, #BIAS]
    ldr     r9, [arguments, #OFFSET]
    ldr     r12, [arguments, #GROUP_OUTPUT_STEP]
    ldr     lr, [arguments, #BLOCKS]
.endm

.macro REQUANTIZE vector, low, high, offsets
    SUMS_TO \low, \high
    vadd.i32 \vector, \vector, r7
    vqrdmulh.s32 \vector, \vector, r8
    vadd.i32 \vector, \vector, r9
    vqmovnb.s32 \vector, \vector
    vqmovnb.s16 \vector, \vector
    vstrb.32 \vector, [output, \offsets]
    add     output, r12
.endm

    BEGIN   fedtiny_gather_sweep_1
    OUTPUT_OFFSETS q6
    LOAD_NUMBERS
    vldrh.u16 q0, [lr]
    vldrh.u16 q4, [lr, #16]
    vadd.i16 q1, q0, r3
    vadd.i16 q2, q1, r3
    vadd.i16 q3, q2, r3
    ldr     r5, [arguments, #GROUP_STEP]
.Lrow_1:
    ldr     lr, [arguments, #GROUPS]
    dls     lr, lr
.Lgroup_1:
    vldrb.s16 q5, [input, q0]
    vmladav.s16 r0, q5, q4
    vldrb.s16 q5, [input, q1]
    vmladav.s16 r2, q5, q4
    vldrb.s16 q5, [input, q2]
    vmladav.s16 r4, q5, q4
    vldrb.s16 q5, [input, q3]
    vmladav.s16 r6, q5, q4
    add     input, r5
    REQUANTIZE q5, d10, d11, q6
    le      lr, .Lgroup_1
    END     fedtiny_gather_sweep_1, .Lrow_1

/* r5: from the last output of a group to the next group's first. */
.macro LOAD_GAP
    ldr     r5, [arguments, #GROUP_STEP]
    sub     r5, r3
    sub     r5, r3
    sub     r5, r3
.endm

.macro DOT_2 sum, step
    vldrb.s16 q4, [input, q0]
    vmladav.s16 \sum, q4, q1
    vldrb.s16 q4, [input, q2]
    vmladava.s16 \sum, q4, q3
    add     input, \step
.endm

    BEGIN   fedtiny_gather_sweep_2
    OUTPUT_OFFSETS q6
    LOAD_NUMBERS
    LOAD_GAP
    vldrh.u16 q0, [lr]
    vldrh.u16 q1, [lr, #16]
    vldrh.u16 q2, [lr, #32]
    vldrh.u16 q3, [lr, #48]
.Lrow_2:
    ldr     lr, [arguments, #GROUPS]
    dls     lr, lr
.Lgroup_2:
    DOT_2   r0, r3
    DOT_2   r2, r3
    DOT_2   r4, r3
    DOT_2   r6, r5
    REQUANTIZE q4, d8, d9, q6
    le      lr, .Lgroup_2
    END     fedtiny_gather_sweep_2, .Lrow_2

.macro DOT_3 sum, step
    vldrb.s16 q6, [input, q0]
    vmladav.s16 \sum, q6, q1
    vldrb.s16 q6, [input, q2]
    vmladava.s16 \sum, q6, q3
    vldrb.s16 q6, [input, q4]
    vmladava.s16 \sum, q6, q5
    add     input, \step
.endm

    BEGIN   fedtiny_gather_sweep_3
    OUTPUT_OFFSETS q7
    LOAD_NUMBERS
    LOAD_GAP
    vldrh.u16 q0, [lr]
    vldrh.u16 q1, [lr, #16]
    vldrh.u16 q2, [lr, #32]
    vldrh.u16 q3, [lr, #48]
    vldrh.u16 q4, [lr, #64]
    vldrh.u16 q5, [lr, #80]
.Lrow_3:
    ldr     lr, [arguments, #GROUPS]
    dls     lr, lr
.Lgroup_3:
    DOT_3   r0, r3
    DOT_3   r2, r3
    DOT_3   r4, r3
    DOT_3   r6, r5
    REQUANTIZE q6, d12, d13, q7
    le      lr, .Lgroup_3
    END     fedtiny_gather_sweep_3, .Lrow_3

#endif

#if defined(__ELF__) && defined(__linux__)
    .section .note.GNU-stack,"",%progbits
#endif
