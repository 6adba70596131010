/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"
#include "fedtiny_learn_taps.h"

/* Adds what one active output at one cell contributes. */
static void add_output(const fedtiny_learn_conv *conv, const float *pooled, float gradient,
                       int32_t y, int32_t x, int32_t first, float *weight_gradient)
{
    const int32_t depth = conv->channels / conv->groups;
    const fedtiny_learn_taps rows = fedtiny_learn_taps_at(y, conv->height, conv->kernel_h);
    const fedtiny_learn_taps columns = fedtiny_learn_taps_at(x, conv->width, conv->kernel_w);
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        const int32_t row = y + ky - conv->kernel_h / 2;
        for (int32_t kx = columns.first; kx < columns.last; kx++) {
            const int32_t column = x + kx - conv->kernel_w / 2;
            const float *const cell =
                pooled + (row * conv->width + column) * conv->channels + first;
            float *const tap = weight_gradient + (ky * conv->kernel_w + kx) * depth;
            for (int32_t i = 0; i < depth; i++) {
                tap[i] += gradient * cell[i];
            }
        }
    }
}

void fedtiny_learn_conv_backward(const fedtiny_learn_conv *conv, const float *pooled,
                                 const uint8_t *active, const float *sums_gradient,
                                 float *weight_gradient, float *bias_gradient)
{
    const int32_t depth = conv->channels / conv->groups;
    const int32_t of_group = conv->outputs / conv->groups;
    for (int32_t y = 0; y < conv->height; y++) {
        for (int32_t x = 0; x < conv->width; x++) {
            for (int32_t o = 0; o < conv->outputs; o++) {
                if (*active++ == 0u) {
                    continue;
                }
                float *const own =
                    weight_gradient + o * conv->kernel_h * conv->kernel_w * depth;
                add_output(conv, pooled, sums_gradient[o], y, x, o / of_group * depth, own);
                bias_gradient[o] += sums_gradient[o];
            }
        }
    }
}
