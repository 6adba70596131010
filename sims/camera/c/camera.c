/* SPDX-License-Identifier: Apache-2.0 */
#include "camera.h"

#include <stdbool.h>

#include "camera_classifier.h"
#include "camera_detector.h"
#include "camera_settings.h" /* generated: pooling, sides, the threshold, tables of inputs */
#include "fedtiny_nn.h"

enum {
    LARGER = CAMERA_DETECTOR_ARENA_BYTES > CAMERA_CLASSIFIER_ARENA_BYTES,
    ARENA_BYTES = LARGER ? CAMERA_DETECTOR_ARENA_BYTES : CAMERA_CLASSIFIER_ARENA_BYTES,
    ROWS = 240 / CAMERA_CELL,
    COLUMNS = 320 / CAMERA_CELL,
    OUTPUTS = 1 + CAMERA_SIZES,
    NEVER = -(1 << 20),
    POOLED_SUMS = CAMERA_DETECTOR_INPUT_WIDTH * CAMERA_DETECTOR_INPUT_CHANNELS,
    BOX_SUMS = 2 * CAMERA_CLASSIFIER_INPUT_WIDTH,
    SUMS = POOLED_SUMS > BOX_SUMS ? POOLED_SUMS : BOX_SUMS
};

const uint32_t camera_arena_bytes = ARENA_BYTES;

static int8_t arena[ARENA_BYTES] __attribute__((aligned(CAMERA_DETECTOR_ARENA_ALIGNMENT)));
static uint32_t sums[SUMS];

/** Cells that a box was found in: no other is looked for there. */
typedef struct {
    int32_t top, left, bottom, right;
} region;

/* Codes lie where the network's input does, and become its int8 in place. */
static void quantize(int8_t *input, int32_t values, int32_t channels, const int8_t *tables)
{
    for (int32_t i = 0; i < values; i++) {
        input[i] = tables[256 * (i % channels) + (uint8_t)input[i]];
    }
}

static int32_t detect(const fedtiny_sensor *sensor)
{
    const cmsis_nn_context scratch = {sums, (int32_t)sizeof sums};
    int8_t *const input = camera_detector_input(arena);
    const bool grey = CAMERA_DETECTOR_INPUT_CHANNELS == 1;
    const int32_t status = (int32_t)fedtiny_sensor_read_pooled(&scratch, sensor, CAMERA_POOLING,
                                                               grey, (uint8_t *)input);
    if (status != 0) {
        return status;
    }
    quantize(input, CAMERA_DETECTOR_INPUT_VALUES, CAMERA_DETECTOR_INPUT_CHANNELS,
             camera_detector_table);
    return camera_detector_invoke(arena);
}

static int32_t classify(const fedtiny_sensor *sensor, const fedtiny_sensor_box *box)
{
    const cmsis_nn_context scratch = {sums, (int32_t)sizeof sums};
    const cmsis_nn_tile size = {CAMERA_CLASSIFIER_INPUT_WIDTH, CAMERA_CLASSIFIER_INPUT_HEIGHT};
    int8_t *const input = camera_classifier_input(arena);
    int32_t status = (int32_t)fedtiny_sensor_read_roi_scaled(&scratch, sensor, box, &size, true,
                                                             (uint8_t *)input);
    if (status != 0) {
        return status;
    }
    quantize(input, CAMERA_CLASSIFIER_INPUT_VALUES, 1, camera_classifier_table);
    status = camera_classifier_invoke(arena);
    const int8_t *const logits = camera_classifier_output(arena);
    return status == 0 ? fedtiny_argmax_s8(logits, CAMERA_CLASSIFIER_CLASSES) : status;
}

/* Largest logit of a size over that of nothing. */
static int32_t score_of(const int8_t *logits, int32_t row, int32_t column)
{
    const int8_t *const cell = logits + (row * COLUMNS + column) * OUTPUTS;
    return cell[1 + fedtiny_argmax_s8(cell + 1, CAMERA_SIZES)] - cell[0];
}

static int32_t free_score(const int8_t *logits, int32_t row, int32_t column, const region *regions,
                          int32_t number)
{
    for (int32_t i = 0; i < number; i++) {
        if (row >= regions[i].top && row <= regions[i].bottom && column >= regions[i].left &&
            column <= regions[i].right) {
            return NEVER;
        }
    }
    return score_of(logits, row, column);
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t most(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* A side of the frame's share in a box: what is inside of [start, start + side). */
static void clip(int32_t start, int32_t side, int32_t frame, int32_t *at, int32_t *length)
{
    *at = most(start, 0);
    *length = least(start + side, frame) - *at;
}

/* The box around a cell: its middle is the mean of the cells near by, weighed by their scores. */
static fedtiny_sensor_box box_at(const int8_t *logits, int32_t row, int32_t column, int32_t side,
                                 const region *regions, int32_t number)
{
    int32_t total = 0, across = 0, down = 0;
    for (int32_t r = most(row - CAMERA_AROUND, 0); r <= least(row + CAMERA_AROUND, ROWS - 1); r++) {
        for (int32_t c = most(column - CAMERA_AROUND, 0);
             c <= least(column + CAMERA_AROUND, COLUMNS - 1); c++) {
            const int32_t score = free_score(logits, r, c, regions, number);
            const int32_t weight = most(score - CAMERA_THRESHOLD + 1, 0);
            total += weight;
            across += weight * (2 * c + 1);
            down += weight * (2 * r + 1);
        }
    }
    const int32_t x = (CAMERA_CELL / 2 * across + total / 2) / total;
    const int32_t y = (CAMERA_CELL / 2 * down + total / 2) / total;
    fedtiny_sensor_box box;
    clip(x - side / 2, side, 320, &box.x, &box.w);
    clip(y - side / 2, side, 240, &box.y, &box.h);
    return box;
}

static int32_t find_boxes(const int8_t *logits, camera_item *items)
{
    region regions[CAMERA_MOST_BOXES];
    int32_t number = 0;
    while (number < CAMERA_MOST_BOXES) {
        int32_t best = NEVER, row = 0, column = 0;
        for (int32_t cell = 0; cell < ROWS * COLUMNS; cell++) {
            const int32_t r = cell / COLUMNS, c = cell % COLUMNS;
            const int32_t score = free_score(logits, r, c, regions, number);
            if (score > best) {
                best = score;
                row = r;
                column = c;
            }
        }
        if (best < CAMERA_THRESHOLD) {
            break;
        }
        const int8_t *const sizes = logits + (row * COLUMNS + column) * OUTPUTS + 1;
        const int32_t side = camera_sides[fedtiny_argmax_s8(sizes, CAMERA_SIZES)];
        items[number].box = box_at(logits, row, column, side, regions, number);
        const int32_t reach = most((side + 2 * CAMERA_CELL - 1) / (2 * CAMERA_CELL), 1);
        const region taken = {row - reach, column - reach, row + reach, column + reach};
        regions[number++] = taken;
    }
    return number;
}

int32_t camera_look(const fedtiny_sensor *sensor, camera_item *items)
{
    const int32_t status = detect(sensor);
    if (status != 0) {
        return status;
    }
    /* Before the classifier takes the arena. */
    const int32_t number = find_boxes(camera_detector_output(arena), items);
    for (int32_t i = 0; i < number; i++) {
        items[i].label = classify(sensor, &items[i].box);
        if (items[i].label < 0) {
            return items[i].label;
        }
    }
    return number;
}
