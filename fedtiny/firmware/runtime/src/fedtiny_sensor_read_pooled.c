/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_sensor_internal.h"

int32_t fedtiny_sensor_read_pooled_get_buffer_size(const fedtiny_sensor *sensor, int32_t pooling,
                                                   bool grey)
{
    const int32_t columns = sensor->width / pooling;
    return columns * fedtiny_sensor_channels(sensor, grey) * (int32_t)sizeof(uint32_t);
}

static void add_line(const fedtiny_sensor *sensor, const uint16_t *line, int32_t pooling, bool grey,
                     uint32_t *sums)
{
    const int32_t step = grey ? 1 : sensor->channels;
    for (int32_t x = 0; x < sensor->width; x += pooling) {
        for (int32_t i = 0; i < pooling; i++) {
            for (int32_t c = 0; c < sensor->channels; c++) {
                sums[grey ? 0 : c] += *line++;
            }
        }
        sums += step;
    }
}

arm_cmsis_nn_status fedtiny_sensor_read_pooled(const cmsis_nn_context *ctx,
                                               const fedtiny_sensor *sensor, int32_t pooling,
                                               bool grey, uint8_t *output)
{
    if (!fedtiny_sensor_is_valid(sensor) || output == NULL || pooling < 1 ||
        pooling > FEDTINY_SENSOR_MAX_POOLING || sensor->width % pooling != 0 ||
        sensor->height % pooling != 0) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const int32_t bytes = fedtiny_sensor_read_pooled_get_buffer_size(sensor, pooling, grey);
    if (!fedtiny_sensor_has_scratch(ctx, bytes)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    uint32_t *const sums = ctx->buf;
    const int32_t values = bytes / (int32_t)sizeof *sums;
    const uint32_t count = (uint32_t)(pooling * pooling * (grey ? sensor->channels : 1));
    for (int32_t row = 0; row < sensor->height; row += pooling) {
        memset(sums, 0, (size_t)bytes);
        for (int32_t i = 0; i < pooling; i++) {
            const uint16_t *const line = sensor->line(sensor->context, row + i);
            if (line == NULL) {
                return FEDTINY_SENSOR_NO_LINE;
            }
            add_line(sensor, line, pooling, grey, sums);
        }
        for (int32_t i = 0; i < values; i++) {
            *output++ = fedtiny_sensor_code(fedtiny_sensor_mean(sums[i], count), sensor->bits);
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
