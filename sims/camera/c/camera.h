/* SPDX-License-Identifier: Apache-2.0
 *
 * One camera, two networks, one arena: the frame is read pooled, a detector finds boxes in it, each box
 * is read at full resolution and classified.
 */
#ifndef CAMERA_H
#define CAMERA_H

#include <stdint.h>

#include "fedtiny_sensor.h"

#define CAMERA_MOST_BOXES 4

/** One thing seen. */
typedef struct {
    fedtiny_sensor_box box;
    int32_t label; /**< Class of the classifier. */
} camera_item;

/**
 * Look once.
 *
 * @param sensor  320 x 240 pixels of 3 channels, 8 bits.
 * @param items   Room for CAMERA_MOST_BOXES.
 * @return        How many were seen, best first; negative: a network's status, or the sensor's.
 */
int32_t camera_look(const fedtiny_sensor *sensor, camera_item *items);

/** Bytes that both networks share. */
extern const uint32_t camera_arena_bytes;

#endif /* CAMERA_H */
