/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"
#include "fedtiny_learn_taps.h"

/* One output at one cell, before ReLU. */
static float output_at(const fedtiny_learn_conv *conv, const float *pooled, const float *weight,
                       float bias, int32_t y, int32_t x, int32_t first)
{
    const int32_t depth = conv->channels / conv->groups;
    const fedtiny_learn_taps rows = fedtiny_learn_taps_at(y, conv->height, conv->kernel_h);
    const fedtiny_learn_taps columns = fedtiny_learn_taps_at(x, conv->width, conv->kernel_w);
    float sum = bias;
    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        const int32_t row = y + ky - conv->kernel_h / 2;
        for (int32_t kx = columns.first; kx < columns.last; kx++) {
            const int32_t column = x + kx - conv->kernel_w / 2;
            const float *const cell =
                pooled + (row * conv->width + column) * conv->channels + first;
            const float *const tap = weight + (ky * conv->kernel_w + kx) * depth;
            for (int32_t i = 0; i < depth; i++) {
                sum += cell[i] * tap[i];
            }
        }
    }
    return sum;
}

void fedtiny_learn_conv_forward(const fedtiny_learn_conv *conv, const float *pooled,
                                const float *weight, const float *bias, float *sums,
                                uint8_t *active)
{
    const int32_t depth = conv->channels / conv->groups;
    const int32_t of_group = conv->outputs / conv->groups;
    for (int32_t y = 0; y < conv->height; y++) {
        for (int32_t x = 0; x < conv->width; x++) {
            for (int32_t o = 0; o < conv->outputs; o++) {
                const float *const own = weight + o * conv->kernel_h * conv->kernel_w * depth;
                const float value =
                    output_at(conv, pooled, own, bias[o], y, x, o / of_group * depth);
                const int positive = value > 0.0f;
                sums[o] += positive ? value : 0.0f;
                *active++ = (uint8_t)positive;
            }
        }
    }
}

int32_t fedtiny_learn_conv_forward_get_buffer_size(const fedtiny_learn_conv *conv)
{
    return conv->height * conv->width * conv->outputs;
}
