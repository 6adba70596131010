/* SPDX-License-Identifier: Apache-2.0 */
#include "../fedtiny_nn_internal.h"

/** One output position. */
typedef struct {
    const cmsis_nn_dw_conv_params *params;
    const cmsis_nn_dims *input_dims;
    const cmsis_nn_dims *filter_dims;
    const int8_t *input;
    int32_t y; /**< Of the filter's first row in the input; negative in the padding. */
    int32_t x;
} position;

/** Sum over the filter's cells that lie inside the input. */
static int32_t accumulate(const position *at, const int8_t *filter, int32_t out_channels,
                          int32_t channel)
{
    const int32_t in_channel = channel / at->params->ch_mult;
    const int8_t *weight = filter + channel;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < at->filter_dims->h; ky++) {
        const int32_t y = at->y + ky * at->params->dilation.h;
        for (int32_t kx = 0; kx < at->filter_dims->w; kx++) {
            const int32_t x = at->x + kx * at->params->dilation.w;
            if (y >= 0 && y < at->input_dims->h && x >= 0 && x < at->input_dims->w) {
                const int32_t cell = (y * at->input_dims->w + x) * at->input_dims->c + in_channel;
                sum += (at->input[cell] + at->params->input_offset) * *weight;
            }
            weight += out_channels;
        }
    }
    return sum;
}

static void convolve_position(const position *at,
                              const cmsis_nn_per_channel_quant_params *quant,
                              const int8_t *filter, const int32_t *bias, int32_t out_channels,
                              int8_t *output)
{
    for (int32_t channel = 0; channel < out_channels; channel++) {
        const fedtiny_requantizer to = fedtiny_channel_requantizer(
            quant, channel, at->params->output_offset, &at->params->activation);
        const int32_t sum = accumulate(at, filter, out_channels, channel);
        output[channel] = fedtiny_requantize_s8(sum + (bias == NULL ? 0 : bias[channel]), &to);
    }
}

arm_cmsis_nn_status fedtiny_dense_depthwise_conv_wrapper_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_dw_conv_params *dw_conv_params,
    const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input_data, const cmsis_nn_dims *filter_dims, const int8_t *filter_data,
    const cmsis_nn_dims *bias_dims, const int32_t *bias_data, const cmsis_nn_dims *output_dims,
    int8_t *output_data)
{
    (void)ctx;
    (void)bias_dims;
    if (dw_conv_params->ch_mult < 1 || dw_conv_params->ch_mult * input_dims->c != output_dims->c) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    position at = {dw_conv_params, input_dims, filter_dims, input_data, 0, 0};
    for (int32_t sample = 0; sample < input_dims->n; sample++) {
        for (int32_t y = 0; y < output_dims->h; y++) {
            at.y = y * dw_conv_params->stride.h - dw_conv_params->padding.h;
            for (int32_t x = 0; x < output_dims->w; x++) {
                at.x = x * dw_conv_params->stride.w - dw_conv_params->padding.w;
                convolve_position(&at, quant_params, filter_data, bias_data, output_dims->c,
                                  output_data);
                output_data += output_dims->c;
            }
        }
        at.input += input_dims->h * input_dims->w * input_dims->c;
    }
    return ARM_CMSIS_NN_SUCCESS;
}

int32_t fedtiny_dense_depthwise_conv_wrapper_s8_get_buffer_size(
    const cmsis_nn_dw_conv_params *dw_conv_params, const cmsis_nn_dims *input_dims,
    const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims)
{
    (void)dw_conv_params;
    (void)input_dims;
    (void)filter_dims;
    (void)output_dims;
    return 0;
}
