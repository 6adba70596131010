/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

/* As many outputs as there are registers for their accumulators. */
#define TILE 8

/** `width` neighbouring outputs; the compiler unrolls the loops over a constant width. */
FEDTINY_INLINE void tile(const fedtiny_direct_sweep *sweep, const int8_t *input, int8_t *output,
                         const int32_t width)
{
    int32_t accumulator[TILE];
    const fedtiny_entry *entry = sweep->entries;
    const fedtiny_entry *const end = entry + sweep->count;
    const int32_t input_step = sweep->input_step;
    for (int32_t i = 0; i < width; i++) {
        accumulator[i] = sweep->bias;
    }
    for (; entry != end; entry++) {
        const int8_t *x = input + entry->offset;
        const int32_t weight = entry->weight;
        for (int32_t i = 0; i < width; i++) {
            accumulator[i] += *x * weight;
            x += input_step;
        }
    }
    const fedtiny_requantizer to = sweep->to;
    const int32_t output_step = sweep->output_step;
    if (fedtiny_requantizer_is_plain(&to)) {
        for (int32_t i = 0; i < width; i++) {
            *output = fedtiny_requantize_plain_s8(accumulator[i], &to);
            output += output_step;
        }
    } else if (to.shift < 0) {
        for (int32_t i = 0; i < width; i++) {
            *output = fedtiny_requantize_right_s8(accumulator[i], to.multiplier, -to.shift,
                                                  to.offset, to.min, to.max);
            output += output_step;
        }
    } else {
        for (int32_t i = 0; i < width; i++) {
            *output = fedtiny_requantize_s8(accumulator[i], &to);
            output += output_step;
        }
    }
}

void fedtiny_direct_sweep_run(const fedtiny_direct_sweep *sweep)
{
    for (int32_t row = 0; row < sweep->rows; row++) {
        const int8_t *input = sweep->input + row * sweep->input_row_step;
        int8_t *output = sweep->output + row * sweep->output_row_step;
        int32_t left = sweep->columns;
        for (; left >= TILE; left -= TILE) {
            tile(sweep, input, output, TILE);
            input += TILE * sweep->input_step;
            output += TILE * sweep->output_step;
        }
        if (left >= 4) {
            tile(sweep, input, output, 4);
            input += 4 * sweep->input_step;
            output += 4 * sweep->output_step;
            left -= 4;
        }
        for (; left > 0; left--) {
            tile(sweep, input, output, 1);
            input += sweep->input_step;
            output += sweep->output_step;
        }
    }
}
