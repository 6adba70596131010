/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_sensor_internal.h"

/* Pixels are weighed in shares: along a side of n pixels that becomes m cells a pixel has m shares
 * and a cell n. The weights of a cell add up to box->w * box->h. */

#define MAX_PIXELS (INT32_C(1) << 22) /* times 4 channels of 255 each: below 2^32 */

int32_t fedtiny_sensor_read_roi_scaled_get_buffer_size(const fedtiny_sensor *sensor,
                                                       const cmsis_nn_tile *size, bool grey)
{
    const int32_t values = size->w * fedtiny_sensor_channels(sensor, grey);
    return 2 * values * (int32_t)sizeof(uint32_t);
}

/* One line of the box at the new width: sums of codes, each times its shares in the cell. */
static void scale_line(const fedtiny_sensor *sensor, const uint16_t *line, int32_t pixels,
                       int32_t cells, bool grey, uint32_t *sums)
{
    const int32_t step = grey ? 1 : sensor->channels;
    int32_t room = pixels; /* shares that the cell still takes */
    memset(sums, 0, (size_t)(cells * step) * sizeof *sums);
    for (int32_t x = 0; x < pixels; x++, line += sensor->channels) {
        uint32_t codes[FEDTINY_SENSOR_MAX_CHANNELS] = {0};
        for (int32_t c = 0; c < sensor->channels; c++) {
            codes[grey ? 0 : c] += fedtiny_sensor_code(line[c], sensor->bits);
        }
        for (int32_t left = cells; left > 0;) {
            const int32_t shares = fedtiny_min(left, room);
            for (int32_t c = 0; c < step; c++) {
                sums[c] += codes[c] * (uint32_t)shares;
            }
            left -= shares;
            room -= shares;
            if (room == 0) {
                sums += step;
                room = pixels;
            }
        }
    }
}

arm_cmsis_nn_status fedtiny_sensor_read_roi_scaled(const cmsis_nn_context *ctx,
                                                   const fedtiny_sensor *sensor,
                                                   const fedtiny_sensor_box *box,
                                                   const cmsis_nn_tile *size, bool grey,
                                                   uint8_t *output)
{
    if (!fedtiny_sensor_is_valid(sensor) || !fedtiny_sensor_holds(sensor, box) || output == NULL ||
        box->w > MAX_PIXELS / box->h || size == NULL || size->w < 1 || size->h < 1 ||
        size->w > FEDTINY_MAX_SIDE || size->h > FEDTINY_MAX_SIDE) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const int32_t bytes = fedtiny_sensor_read_roi_scaled_get_buffer_size(sensor, size, grey);
    if (!fedtiny_sensor_has_scratch(ctx, bytes)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const int32_t values = size->w * fedtiny_sensor_channels(sensor, grey);
    const uint32_t count = (uint32_t)(box->w * box->h * (grey ? sensor->channels : 1));
    uint32_t *const scaled = ctx->buf, *const sums = scaled + values;
    int32_t room = box->h;
    memset(sums, 0, (size_t)values * sizeof *sums);
    for (int32_t row = box->y; row < box->y + box->h; row++) {
        const uint16_t *const line = sensor->line(sensor->context, row);
        if (line == NULL) {
            return FEDTINY_SENSOR_NO_LINE;
        }
        scale_line(sensor, line + box->x * sensor->channels, box->w, size->w, grey, scaled);
        for (int32_t left = size->h; left > 0;) {
            const int32_t shares = fedtiny_min(left, room);
            for (int32_t i = 0; i < values; i++) {
                sums[i] += scaled[i] * (uint32_t)shares;
            }
            left -= shares;
            room -= shares;
            if (room == 0) {
                for (int32_t i = 0; i < values; i++) {
                    *output++ = (uint8_t)fedtiny_sensor_mean(sums[i], count);
                }
                memset(sums, 0, (size_t)values * sizeof *sums);
                room = box->h;
            }
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
