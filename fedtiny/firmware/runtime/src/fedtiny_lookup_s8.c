/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

#define CODES_BELOW_ZERO 128

arm_cmsis_nn_status fedtiny_lookup_s8(const int8_t *input, const int8_t *table, int8_t *output,
                                      int32_t block_size)
{
    if (input == NULL || table == NULL || output == NULL || block_size < 0) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const int8_t *const middle = table + CODES_BELOW_ZERO;
#pragma GCC unroll 4
    for (int32_t i = 0; i < block_size; i++) {
        output[i] = middle[input[i]];
    }
    return ARM_CMSIS_NN_SUCCESS;
}
