/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_nn_internal.h"

arm_cmsis_nn_status fedtiny_concat_s8(const int8_t *input, int32_t cells, int32_t channels,
                                      const int8_t *table, int8_t *output, int32_t output_channels)
{
    if (input == NULL || output == NULL || cells < 0 || channels < 1 ||
        output_channels < channels) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    for (int32_t cell = 0; cell < cells; cell++) {
        if (table == NULL) {
            memcpy(output, input, (size_t)channels);
        } else {
            for (int32_t i = 0; i < channels; i++) {
                output[i] = table[input[i] - INT8_MIN];
            }
        }
        input += channels;
        output += output_channels;
    }
    return ARM_CMSIS_NN_SUCCESS;
}
