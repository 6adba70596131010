/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

arm_cmsis_nn_status fedtiny_quantize_s16(const int16_t *input, int32_t positions, int32_t channels,
                                         const int32_t *multiplier, const int64_t *offset,
                                         int32_t shift, int8_t *output)
{
    if (positions < 0 || channels < 1 || shift < 1 || shift > 47 ||
        !fedtiny_is_aligned(input, sizeof *input) || multiplier == NULL || offset == NULL ||
        output == NULL) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const int64_t half = INT64_C(1) << (shift - 1);
    for (int32_t position = 0; position < positions; position++) {
        for (int32_t c = 0; c < channels; c++) {
            const int64_t scaled = (int64_t)*input++ * multiplier[c] + offset[c];
            const int64_t rounded = (scaled + half) >> shift;
            const int64_t raised = rounded < INT8_MIN ? INT8_MIN : rounded;
            *output++ = (int8_t)(raised > INT8_MAX ? INT8_MAX : raised);
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
