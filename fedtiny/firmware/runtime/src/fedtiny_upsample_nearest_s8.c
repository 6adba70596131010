/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_nn_internal.h"

/** One axis: position p of the result is read at p * in / out, rounded down. */
typedef struct {
    int32_t in;
    int32_t out;
    int32_t rest; /**< p * in modulo out. */
} stretch;

/** Go to the next position; whether it is read one further on. No division: M0 has none. */
static bool advance(stretch *axis)
{
    axis->rest += axis->in;
    if (axis->rest < axis->out) {
        return false;
    }
    axis->rest -= axis->out;
    return true;
}

static bool is_in_range(const cmsis_nn_dims *from, const cmsis_nn_dims *to)
{
    if (from->h < 1 || from->w < 1 || from->c < 1 || from->c > FEDTINY_MAX_SIDE ||
        to->h < from->h || to->h > FEDTINY_MAX_SIDE || to->w < from->w ||
        to->w > FEDTINY_MAX_SIDE || to->c != from->c) {
        return false;
    }
    return (int64_t)to->h * to->w <= FEDTINY_MAX_VALUES / to->c;
}

static void widen_row(const int8_t *input, int32_t width, int32_t out_width, size_t channels,
                      int8_t *output)
{
    stretch columns = {width, out_width, 0};
    for (int32_t x = 0; x < out_width; x++) {
        memcpy(output, input, channels);
        output += channels;
        if (advance(&columns)) {
            input += channels;
        }
    }
}

arm_cmsis_nn_status fedtiny_upsample_nearest_s8(const cmsis_nn_dims *input_dims,
                                                const int8_t *input,
                                                const cmsis_nn_dims *output_dims, int8_t *output)
{
    if (input_dims == NULL || output_dims == NULL || input == NULL || output == NULL ||
        !is_in_range(input_dims, output_dims)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const size_t channels = (size_t)input_dims->c;
    const size_t row_bytes = (size_t)output_dims->w * channels;
    stretch rows = {input_dims->h, output_dims->h, 0};
    bool is_new = true;
    for (int32_t y = 0; y < output_dims->h; y++) {
        if (is_new) {
            widen_row(input, input_dims->w, output_dims->w, channels, output);
            input += (size_t)input_dims->w * channels;
        } else {
            memcpy(output, output - row_bytes, row_bytes);
        }
        output += row_bytes;
        is_new = advance(&rows);
    }
    return ARM_CMSIS_NN_SUCCESS;
}
