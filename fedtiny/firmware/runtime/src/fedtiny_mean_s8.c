/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

/* So that a sum of |input + input_offset| <= 255 fits in 31 bits. */
#define MAX_CELLS (INT32_C(1) << 23)

arm_cmsis_nn_status fedtiny_mean_s8(const int8_t *input, int32_t cells, int32_t channels,
                                    int32_t input_offset, int32_t multiplier, int32_t shift,
                                    int32_t output_offset, int32_t activation_min,
                                    int32_t activation_max, int8_t *output)
{
    if (input == NULL || output == NULL || cells < 1 ||
        cells > MAX_CELLS || channels < 1) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const fedtiny_requantizer to = {multiplier, shift, output_offset, activation_min,
                                    activation_max};
    for (int32_t channel = 0; channel < channels; channel++) {
        const int8_t *cell = input + channel;
        int32_t sum = cells * input_offset;
        for (int32_t i = 0; i < cells; i++) {
            sum += *cell;
            cell += channels;
        }
        output[channel] = fedtiny_requantize_s8(sum, &to);
    }
    return ARM_CMSIS_NN_SUCCESS;
}
