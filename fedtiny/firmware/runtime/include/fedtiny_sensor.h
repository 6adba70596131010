/* SPDX-License-Identifier: Apache-2.0
 *
 * FedTiny sensor: an image sensor read in two stages, the whole frame averaged, then boxes of it at
 * full resolution. Lines come one at a time from a callback; no function ever holds the frame,
 * allocates, recurses or has state.
 *
 * A line is uint16, width x channels, channels innermost: 0 is dark, 65535 the converter's full
 * scale. A camera that yields bytes is read by a callback that yields 257 times each.
 *
 * A value becomes a code of `bits` bits, a byte each in memory:
 *
 *     code = (2 * value * (2^bits - 1) + 65535) / (2 * 65535)      (halves up)
 *
 * Every function returns ARM_CMSIS_NN_ARG_ERROR if the scratch is too small or an argument is out of
 * range, and FEDTINY_SENSOR_NO_LINE if the callback yields no line; the output is then unspecified.
 */
#ifndef FEDTINY_SENSOR_H
#define FEDTINY_SENSOR_H

#include "fedtiny_nn_types.h"

/** The callback yielded no line: CMSIS-NN's ARM_CMSIS_NN_FAILURE, which release 4.0 does not name. */
#define FEDTINY_SENSOR_NO_LINE ((arm_cmsis_nn_status)-3)

#ifdef __cplusplus
extern "C" {
#endif

/** Largest square that is averaged: sums of its values fit in 32 bits. */
#define FEDTINY_SENSOR_MAX_POOLING 64

/**
 * The next line of the frame.
 *
 * @param context  Of the sensor.
 * @param row      Of the frame; within one call of a function here rows ascend, by one each.
 * @return         width x channels values, valid until the next call; null if there is none.
 */
typedef const uint16_t *fedtiny_sensor_line(void *context, int32_t row);

/** A sensor. */
typedef struct {
    int32_t width;    /**< Pixels, [1, 65535]. */
    int32_t height;   /**< Pixels, [1, 65535]. */
    int32_t channels; /**< Values of a pixel, [1, 4]. */
    int32_t bits;     /**< Of a code, [1, 8]. */
    fedtiny_sensor_line *line;
    void *context; /**< Given to `line`. */
} fedtiny_sensor;

/** Pixels [x, x + w) x [y, y + h) of the frame; none of them outside. */
typedef struct {
    int32_t x;
    int32_t y;
    int32_t w;
    int32_t h;
} fedtiny_sensor_box;

/**
 * The whole frame, averaged before it becomes codes: means over squares of pixels, halves up.
 *
 * @param ctx      Scratch; see fedtiny_sensor_read_pooled_get_buffer_size.
 * @param sensor   The sensor; every line is read once.
 * @param pooling  Side of the squares, [1, FEDTINY_SENSOR_MAX_POOLING]; divides width and height.
 * @param grey     Average the channels, too; there is one rounding.
 * @param output   uint8, height / pooling x width / pooling x (grey ? 1 : channels)
 */
arm_cmsis_nn_status fedtiny_sensor_read_pooled(const cmsis_nn_context *ctx,
                                               const fedtiny_sensor *sensor,
                                               int32_t pooling,
                                               bool grey,
                                               uint8_t *output);

/** Scratch bytes of fedtiny_sensor_read_pooled: the sums of one row of squares. */
int32_t fedtiny_sensor_read_pooled_get_buffer_size(const fedtiny_sensor *sensor,
                                                   int32_t pooling,
                                                   bool grey);

/**
 * A box at full resolution.
 *
 * @param sensor  The sensor; the box's lines are read once.
 * @param box     Within the frame.
 * @param output  uint8, box->h x box->w x channels
 */
arm_cmsis_nn_status fedtiny_sensor_read_roi(const fedtiny_sensor *sensor,
                                            const fedtiny_sensor_box *box,
                                            uint8_t *output);

/**
 * A box at another size, scaled as its lines come: every cell is the mean of the codes of the area
 * that it covers, halves up; pixels that it covers in part count with that part. The picture at
 * full resolution is never held.
 *
 * @param ctx     Scratch; see fedtiny_sensor_read_roi_scaled_get_buffer_size.
 * @param sensor  The sensor; the box's lines are read once.
 * @param box     Within the frame; at most 2^22 pixels.
 * @param size    Of the result, each side in [1, 65535].
 * @param grey    Average the channels, too; there is one rounding.
 * @param output  uint8, size->h x size->w x (grey ? 1 : channels)
 */
arm_cmsis_nn_status fedtiny_sensor_read_roi_scaled(const cmsis_nn_context *ctx,
                                                   const fedtiny_sensor *sensor,
                                                   const fedtiny_sensor_box *box,
                                                   const cmsis_nn_tile *size,
                                                   bool grey,
                                                   uint8_t *output);

/** Scratch bytes of fedtiny_sensor_read_roi_scaled: one line at the new width, and sums of one. */
int32_t fedtiny_sensor_read_roi_scaled_get_buffer_size(const fedtiny_sensor *sensor,
                                                       const cmsis_nn_tile *size,
                                                       bool grey);

#ifdef __cplusplus
}
#endif

#endif /* FEDTINY_SENSOR_H */
