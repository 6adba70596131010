/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_mve.h"

#define CODES 256
#define TABLES_BYTES (2 * CODES * (int32_t)sizeof(int32_t))

/* The output's rescaling that the exporter emits: 2^15 / 2^31, so only a shift. */
#define PLAIN_MULTIPLIER (INT32_C(1) << 15)
#define PLAIN_SHIFT 16

/* So that doubled sums, and the offset times 2^shift, stay within 32 bits. */
#define MAX_LEFT_SHIFT 20
#define MAX_RIGHT_SHIFT 20

/** How one operand is rescaled. */
typedef struct {
    int32_t offset;
    int32_t multiplier;
    int32_t shift;
} operand;

#if defined(__ARM_FEATURE_MVE)

/** As `fill` below for a shift that is not to the left, four codes at a time. */
static void fill_right(int32_t *table, const operand *of, int32_t left_shift, int32_t start,
                       int32_t factor)
{
    int32x4_t code = vreinterpretq_s32_u32(vidupq_n_u32(0, 1));
    for (int32_t i = 0; i < CODES; i += 4) {
        const int32x4_t value = i < CODES / 2 ? code : vsubq_n_s32(code, CODES);
        const int32x4_t raised = vshlq_r_s32(vaddq_n_s32(value, of->offset), left_shift);
        const int32x4_t high = vqrdmulhq_n_s32(raised, of->multiplier);
        const int32x4_t scaled = of->shift < 0 ? fedtiny_mve_divide(high, -of->shift) : high;
        vst1q_s32(table + i, vaddq_n_s32(vmulq_n_s32(scaled, factor), start));
        code = vaddq_n_s32(code, 4);
    }
}

/** Four sums of table values. */
FEDTINY_INLINE int32x4_t sums_of(const int32_t *first, const int32_t *second, uint32x4_t code_1,
                                 uint32x4_t code_2)
{
    return vaddq_s32(vldrwq_gather_shifted_offset_s32(first, code_1),
                     vldrwq_gather_shifted_offset_s32(second, code_2));
}

FEDTINY_INLINE int32x4_t shift_sums(int32x4_t doubled, int32_t multiplier, int32_t addend,
                                    int32_t right, int32_t min, int32_t max)
{
    const int32x4_t high = vrmulhq_s32(doubled, vdupq_n_s32(multiplier));
    const int32x4_t raised = vaddq_n_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), addend);
    return fedtiny_mve_clamp(vshlq_r_s32(raised, -right), min, max);
}

/* Store `four` of every four sums, which it calls `sums`; of fewer at the end. */
#define FOR_FOUR_SUMS(four)                                                                       \
    int32_t left = count;                                                                         \
    for (; left >= 4; left -= 4) {                                                                \
        const int32x4_t sums = sums_of(first, second, vldrbq_u32((const uint8_t *)input_1),       \
                                       vldrbq_u32((const uint8_t *)input_2));                     \
        vstrbq_s32(output, four);                                                                 \
        input_1 += 4;                                                                             \
        input_2 += 4;                                                                             \
        output += 4;                                                                              \
    }                                                                                             \
    if (left > 0) {                                                                               \
        const mve_pred16_t lanes = vctp32q((uint32_t)left);                                       \
        const int32x4_t sums =                                                                    \
            sums_of(first, second, vldrbq_z_u32((const uint8_t *)input_1, lanes),                 \
                    vldrbq_z_u32((const uint8_t *)input_2, lanes));                               \
        vstrbq_p_s32(output, four, lanes);                                                        \
    }

#endif

/** An operand's rescaled value for each of its codes: 256 rescalings instead of one an element. */
static void fill(int32_t *table, const operand *of, int32_t left_shift, int32_t start,
                 int32_t factor)
{
#if defined(__ARM_FEATURE_MVE)
    if (of->shift <= 0) {
        fill_right(table, of, left_shift, start, factor);
        return;
    }
#endif
    const int32_t scale = INT32_C(1) << left_shift;
    for (int32_t code = INT8_MIN; code <= INT8_MAX; code++) {
        const int32_t raised = (code + of->offset) * scale;
        table[(uint8_t)code] =
            start + factor * fedtiny_requantize(raised, of->multiplier, of->shift);
    }
}

/** Doubled sums, and a shift to the right whose halves are rounded away from zero. */
FEDTINY_INLINE void add_shifted(const int32_t *first, const int32_t *second,
                                const int8_t *input_1, const int8_t *input_2, int8_t *output,
                                const int32_t count, const fedtiny_requantizer *to)
{
    const int32_t right = -to->shift;
    const int32_t addend = to->offset * (1 << right) + (1 << (right - 1));
    const int32_t multiplier = to->multiplier;
    const int32_t min = to->min;
    const int32_t max = to->max;
#if defined(__ARM_FEATURE_MVE)
    FOR_FOUR_SUMS(shift_sums(sums, multiplier, addend, right, min, max))
#else
#pragma GCC unroll 4
    for (int32_t i = 0; i < count; i++) {
        const int64_t doubled = first[(uint8_t)input_1[i]] + second[(uint8_t)input_2[i]];
        const int32_t high = (int32_t)((doubled * multiplier + (INT64_C(1) << 31)) >> 32);
        output[i] = (int8_t)fedtiny_clamp((high - (high < 0) + addend) >> right, min, max);
    }
#endif
}

FEDTINY_INLINE void add_plain(const int32_t *first, const int32_t *second, const int8_t *input_1,
                              const int8_t *input_2, int8_t *output, const int32_t count,
                              const int32_t min, const int32_t max)
{
#if defined(__ARM_FEATURE_MVE)
    FOR_FOUR_SUMS(fedtiny_mve_clamp(vshrq_n_s32(sums, PLAIN_SHIFT), min, max))
#else
#pragma GCC unroll 4
    for (int32_t i = 0; i < count; i++) {
        const int32_t sum = first[(uint8_t)input_1[i]] + second[(uint8_t)input_2[i]];
        output[i] = (int8_t)fedtiny_clamp(sum >> PLAIN_SHIFT, min, max);
    }
#endif
}

arm_cmsis_nn_status fedtiny_elementwise_add_s8(
    const cmsis_nn_context *ctx, const int8_t *input_1_vect, const int8_t *input_2_vect,
    const int32_t input_1_offset, const int32_t input_1_mult, const int32_t input_1_shift,
    const int32_t input_2_offset, const int32_t input_2_mult, const int32_t input_2_shift,
    const int32_t left_shift, int8_t *output, const int32_t out_offset, const int32_t out_mult,
    const int32_t out_shift, const int32_t out_activation_min, const int32_t out_activation_max,
    const int32_t block_size)
{
    if (ctx == NULL || !fedtiny_is_aligned(ctx->buf, sizeof(int32_t)) || ctx->size < TABLES_BYTES ||
        input_1_vect == NULL || input_2_vect == NULL || output == NULL || block_size < 0) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const operand operand_1 = {input_1_offset, input_1_mult, input_1_shift};
    const operand operand_2 = {input_2_offset, input_2_mult, input_2_shift};
    const fedtiny_requantizer to = {out_mult, out_shift, out_offset, out_activation_min,
                                    out_activation_max};
    const bool plain = out_mult == PLAIN_MULTIPLIER && out_shift == 0;
    const int32_t start =
        plain ? out_offset * (1 << PLAIN_SHIFT) + (1 << (PLAIN_SHIFT - 1)) : 0;
    const bool shifted =
        out_shift < 0 && out_shift >= -MAX_RIGHT_SHIFT && left_shift <= MAX_LEFT_SHIFT;
    const int32_t factor = shifted ? 2 : 1;
    int32_t *const first = ctx->buf;
    int32_t *const second = first + CODES;
    fill(first, &operand_1, left_shift, start, factor);
    fill(second, &operand_2, left_shift, 0, factor);
    if (plain && out_activation_min == INT8_MIN && out_activation_max == INT8_MAX) {
        add_plain(first, second, input_1_vect, input_2_vect, output, block_size, INT8_MIN,
                  INT8_MAX);
    } else if (plain) {
        add_plain(first, second, input_1_vect, input_2_vect, output, block_size,
                  out_activation_min, out_activation_max);
    } else if (shifted) {
        add_shifted(first, second, input_1_vect, input_2_vect, output, block_size, &to);
    } else {
        for (int32_t i = 0; i < block_size; i++) {
            output[i] = fedtiny_requantize_s8(
                first[(uint8_t)input_1_vect[i]] + second[(uint8_t)input_2_vect[i]], &to);
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}

int32_t fedtiny_elementwise_add_s8_get_buffer_size(void)
{
    return TABLES_BYTES;
}
