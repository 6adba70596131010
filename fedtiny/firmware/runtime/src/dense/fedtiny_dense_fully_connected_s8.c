/* SPDX-License-Identifier: Apache-2.0 */
#include "../fedtiny_nn_internal.h"

static int32_t dot(const int8_t *a, const int8_t *b, int32_t count, int32_t offset)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += (a[i] + offset) * b[i];
    }
    return sum;
}

arm_cmsis_nn_status fedtiny_dense_fully_connected_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_fc_params *fc_params,
    const cmsis_nn_per_tensor_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input_data, const cmsis_nn_dims *filter_dims, const int8_t *filter_data,
    const cmsis_nn_dims *bias_dims, const int32_t *bias_data, const cmsis_nn_dims *output_dims,
    int8_t *output_data)
{
    (void)ctx;
    (void)bias_dims;
    const int32_t features = filter_dims->n;
    const fedtiny_requantizer to = {quant_params->multiplier, quant_params->shift,
                                    fc_params->output_offset, fc_params->activation.min,
                                    fc_params->activation.max};
    for (int32_t sample = 0; sample < input_dims->n; sample++) {
        for (int32_t channel = 0; channel < output_dims->c; channel++) {
            const int32_t sum = dot(input_data, filter_data + channel * features, features,
                                    fc_params->input_offset);
            *output_data++ =
                fedtiny_requantize_s8(sum + (bias_data == NULL ? 0 : bias_data[channel]), &to);
        }
        input_data += features;
    }
    return ARM_CMSIS_NN_SUCCESS;
}

int32_t fedtiny_dense_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *filter_dims)
{
    (void)filter_dims;
    return 0;
}
