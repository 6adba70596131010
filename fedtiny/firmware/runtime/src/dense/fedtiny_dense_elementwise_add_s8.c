/* SPDX-License-Identifier: Apache-2.0 */
#include "../fedtiny_nn_internal.h"

arm_cmsis_nn_status fedtiny_dense_elementwise_add_s8(
    const int8_t *input_1_vect, const int8_t *input_2_vect, const int32_t input_1_offset,
    const int32_t input_1_mult, const int32_t input_1_shift, const int32_t input_2_offset,
    const int32_t input_2_mult, const int32_t input_2_shift, const int32_t left_shift,
    int8_t *output, const int32_t out_offset, const int32_t out_mult, const int32_t out_shift,
    const int32_t out_activation_min, const int32_t out_activation_max, const int32_t block_size)
{
    const fedtiny_requantizer to = {out_mult, out_shift, out_offset, out_activation_min,
                                    out_activation_max};
    const int32_t scale = INT32_C(1) << left_shift;
    for (int32_t i = 0; i < block_size; i++) {
        const int32_t first = (input_1_vect[i] + input_1_offset) * scale;
        const int32_t second = (input_2_vect[i] + input_2_offset) * scale;
        const int32_t sum = fedtiny_requantize(first, input_1_mult, input_1_shift) +
                            fedtiny_requantize(second, input_2_mult, input_2_shift);
        output[i] = fedtiny_requantize_s8(sum, &to);
    }
    return ARM_CMSIS_NN_SUCCESS;
}
