/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_learn.h"

static int32_t window_sum(const fedtiny_learn_pool *pool, const int8_t *corner)
{
    int32_t sum = 0;
    for (int32_t y = 0; y < pool->kernel_h; y++) {
        const int8_t *cell = corner + y * pool->width * pool->channels;
        for (int32_t x = 0; x < pool->kernel_w; x++) {
            sum += *cell;
            cell += pool->channels;
        }
    }
    return sum;
}

void fedtiny_learn_pool_s8(const fedtiny_learn_pool *pool, const int8_t *map, float *pooled)
{
    const int32_t zero = pool->kernel_h * pool->kernel_w * pool->zero_point;
    for (int32_t y = 0; y + pool->kernel_h <= pool->height; y += pool->kernel_h) {
        for (int32_t x = 0; x + pool->kernel_w <= pool->width; x += pool->kernel_w) {
            const int8_t *const corner = map + (y * pool->width + x) * pool->channels;
            for (int32_t channel = 0; channel < pool->channels; channel++) {
                *pooled++ = pool->scale * (float)(window_sum(pool, corner + channel) - zero);
            }
        }
    }
}

int32_t fedtiny_learn_pool_s8_get_buffer_size(const fedtiny_learn_pool *pool)
{
    const int32_t cells = (pool->height / pool->kernel_h) * (pool->width / pool->kernel_w);
    return cells * pool->channels * (int32_t)sizeof(float);
}
