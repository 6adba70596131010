/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_pool.h"

static int32_t window_sum(const fedtiny_window *window, const cmsis_nn_dims *dims,
                          const int8_t *input, int32_t channel)
{
    int32_t sum = 0;
    for (int32_t y = window->top; y < window->bottom; y++) {
        for (int32_t x = window->left; x < window->right; x++) {
            sum += input[(y * dims->w + x) * dims->c + channel];
        }
    }
    return sum;
}

/** sum / count, ties away from zero. */
static int32_t rounded_mean(int32_t sum, int32_t count)
{
    const int32_t half = count / 2;
    return (sum > 0 ? sum + half : sum - half) / count;
}

arm_cmsis_nn_status fedtiny_dense_avgpool_s8(const cmsis_nn_context *ctx,
                                             const cmsis_nn_pool_params *pool_params,
                                             const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                             const cmsis_nn_dims *filter_dims,
                                             const cmsis_nn_dims *output_dims, int8_t *output_data)
{
    (void)ctx;
    const cmsis_nn_activation *const clamp = &pool_params->activation;
    for (int32_t y = 0; y < output_dims->h; y++) {
        for (int32_t x = 0; x < output_dims->w; x++) {
            const fedtiny_window window =
                fedtiny_window_at(pool_params, input_dims, filter_dims, y, x);
            const int32_t cells = fedtiny_window_cells(&window);
            if (cells == 0) {
                return ARM_CMSIS_NN_ARG_ERROR;
            }
            for (int32_t channel = 0; channel < input_dims->c; channel++) {
                const int32_t sum = window_sum(&window, input_dims, input_data, channel);
                *output_data++ =
                    (int8_t)fedtiny_clamp(rounded_mean(sum, cells), clamp->min, clamp->max);
            }
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}

int32_t fedtiny_dense_avgpool_s8_get_buffer_size(const int dim_dst_width, const int ch_src)
{
    (void)dim_dst_width;
    (void)ch_src;
    return 0;
}
