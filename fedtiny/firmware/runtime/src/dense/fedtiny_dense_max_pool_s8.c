/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_pool.h"

static int32_t window_max(const fedtiny_window *window, const cmsis_nn_dims *dims,
                          const int8_t *input, int32_t channel)
{
    int32_t max = INT8_MIN;
    for (int32_t y = window->top; y < window->bottom; y++) {
        for (int32_t x = window->left; x < window->right; x++) {
            max = fedtiny_max(max, input[(y * dims->w + x) * dims->c + channel]);
        }
    }
    return max;
}

arm_cmsis_nn_status fedtiny_dense_max_pool_s8(const cmsis_nn_context *ctx,
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
            for (int32_t channel = 0; channel < input_dims->c; channel++) {
                const int32_t max = window_max(&window, input_dims, input_data, channel);
                *output_data++ = (int8_t)fedtiny_clamp(max, clamp->min, clamp->max);
            }
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
