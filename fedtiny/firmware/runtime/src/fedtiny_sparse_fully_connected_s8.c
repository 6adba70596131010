/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

arm_cmsis_nn_status fedtiny_sparse_fully_connected_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_fc_params *fc_params,
    const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input, const cmsis_nn_dims *filter_dims, const fedtiny_sparse_weights *weights,
    const cmsis_nn_dims *bias_dims, const int32_t *bias, const cmsis_nn_dims *output_dims,
    int8_t *output)
{
    (void)ctx;
    (void)bias_dims;
    const int32_t features = filter_dims->n;
    const int32_t outputs = output_dims->c;
    if (features < 1 || features > FEDTINY_MAX_SIDE || outputs < 1 || input_dims->n < 1 ||
        input == NULL || output == NULL || weights == NULL || weights->dot == NULL ||
        weights->entries == NULL || quant_params == NULL || quant_params->multiplier == NULL) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    for (int32_t sample = 0; sample < input_dims->n; sample++) {
        fedtiny_stream stream = fedtiny_stream_of(weights);
        for (int32_t channel = 0; channel < outputs; channel++) {
            fedtiny_dot dot = {0, 0};
            if (!weights->dot(&stream, weights->entries[channel], input, features, &dot)) {
                return ARM_CMSIS_NN_ARG_ERROR;
            }
            const fedtiny_requantizer to = fedtiny_channel_requantizer(
                quant_params, channel, fc_params->output_offset, &fc_params->activation);
            const int32_t folded =
                fedtiny_folded_bias(bias, channel, fc_params->input_offset, dot.weight_sum);
            output[channel] = fedtiny_requantize_s8(dot.product + folded, &to);
        }
        input += features;
        output += outputs;
    }
    return ARM_CMSIS_NN_SUCCESS;
}

int32_t fedtiny_sparse_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *filter_dims)
{
    (void)filter_dims;
    return 0;
}
