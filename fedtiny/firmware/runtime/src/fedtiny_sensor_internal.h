/* SPDX-License-Identifier: Apache-2.0
 *
 * What the readers of a sensor share. Not part of the interface.
 */
#ifndef FEDTINY_SENSOR_INTERNAL_H
#define FEDTINY_SENSOR_INTERNAL_H

#include "fedtiny_nn_internal.h"
#include "fedtiny_sensor.h"

#define FEDTINY_SENSOR_FULL_SCALE UINT32_C(65535)
#define FEDTINY_SENSOR_MAX_CHANNELS 4

FEDTINY_INLINE bool fedtiny_sensor_is_valid(const fedtiny_sensor *sensor)
{
    return sensor != NULL && sensor->line != NULL && sensor->width >= 1 &&
           sensor->width <= FEDTINY_MAX_SIDE && sensor->height >= 1 &&
           sensor->height <= FEDTINY_MAX_SIDE && sensor->channels >= 1 &&
           sensor->channels <= FEDTINY_SENSOR_MAX_CHANNELS && sensor->bits >= 1 &&
           sensor->bits <= 8;
}

FEDTINY_INLINE bool fedtiny_sensor_holds(const fedtiny_sensor *sensor,
                                         const fedtiny_sensor_box *box)
{
    return box != NULL && box->x >= 0 && box->y >= 0 && box->w >= 1 && box->h >= 1 &&
           box->w <= sensor->width && box->h <= sensor->height &&
           box->x <= sensor->width - box->w && box->y <= sensor->height - box->h;
}

FEDTINY_INLINE int32_t fedtiny_sensor_channels(const fedtiny_sensor *sensor, bool grey)
{
    return grey ? 1 : sensor->channels;
}

/** Whether there is scratch of so many bytes, words in it. */
FEDTINY_INLINE bool fedtiny_sensor_has_scratch(const cmsis_nn_context *ctx, int32_t bytes)
{
    return ctx != NULL && fedtiny_is_aligned(ctx->buf, sizeof(uint32_t)) && ctx->size >= bytes;
}

/** round(sum / count), halves up; sum <= 2^32 - count / 2. */
FEDTINY_INLINE uint32_t fedtiny_sensor_mean(uint32_t sum, uint32_t count)
{
    const uint32_t whole = sum / count;
    const uint32_t rest = sum % count;
    return whole + (rest >= count - rest ? 1u : 0u);
}

FEDTINY_INLINE uint8_t fedtiny_sensor_code(uint32_t value, int32_t bits)
{
    const uint32_t top = (UINT32_C(1) << bits) - 1u;
    return (uint8_t)((2u * value * top + FEDTINY_SENSOR_FULL_SCALE) /
                     (2u * FEDTINY_SENSOR_FULL_SCALE));
}

#endif /* FEDTINY_SENSOR_INTERNAL_H */
