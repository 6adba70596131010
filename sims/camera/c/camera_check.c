/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at the scenes of a file and compares boxes and classes with what the integer reference saw.
 * File "scenes", little-endian: for each scene int32 number of items, CAMERA_MOST_BOXES times int32 x,
 * y, w, h, label; then its light, uint16, 240 x 320 x 3. Prints "N vectors, M mismatches".
 */
#include <string.h>

#include "camera.h"

enum { LINE_VALUES = 320 * 3, SCENE_BYTES = 240 * LINE_VALUES * 2, ITEM_WORDS = 5 };

typedef struct {
    int32_t number;
    int32_t items[CAMERA_MOST_BOXES][ITEM_WORDS];
} expectation;

static uint16_t line[LINE_VALUES]; /* as a camera's driver has one */

static const uint16_t *line_of(void *context, int32_t row)
{
    memcpy(line, (const uint8_t *)context + 2 * LINE_VALUES * row, sizeof line);
    return line;
}

static int agrees(const uint8_t *record)
{
    expectation wanted;
    camera_item seen[CAMERA_MOST_BOXES];
    memcpy(&wanted, record, sizeof wanted);
    const fedtiny_sensor sensor = {320, 240, 3, 8, line_of, (void *)(record + sizeof wanted)};
    const int32_t number = camera_look(&sensor, seen);
    int agree = number == wanted.number;
    for (int32_t i = 0; agree && i < number; i++) {
        const fedtiny_sensor_box *const box = &seen[i].box;
        const int32_t found[ITEM_WORDS] = {box->x, box->y, box->w, box->h, seen[i].label};
        agree = memcmp(found, wanted.items[i], sizeof found) == 0;
    }
    return agree;
}

static uint32_t mismatches(const uint8_t *file, uint32_t scenes)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < scenes; i++) {
        wrong += agrees(file + i * (sizeof(expectation) + SCENE_BYTES)) ? 0u : 1u;
    }
    return wrong;
}

#if defined(FEDTINY_BOARD)

#include "board.h"

enum { FILE_BYTES = 3 * 1024 * 1024 };

BOARD_EXTERNAL static uint8_t file_bytes[FILE_BYTES];

int main(void)
{
    const int32_t size = board_read_file("scenes", file_bytes, FILE_BYTES);
    const uint32_t scenes =
        size < 0 ? 0u : (uint32_t)size / (uint32_t)(sizeof(expectation) + SCENE_BYTES);
    const uint64_t start = board_ticks();
    const uint32_t wrong = mismatches(file_bytes, scenes);
    board_print("ticks ");
    board_print_u32((uint32_t)(board_ticks() - start));
    board_print("\n");
    board_print_u32(scenes);
    board_print(" vectors, ");
    board_print_u32(wrong);
    board_print(" mismatches\n");
    return 0;
}

#else

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    FILE *const file = fopen("scenes", "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        return 2;
    }
    const long size = ftell(file);
    uint8_t *const bytes = size > 0 ? malloc((size_t)size) : NULL;
    rewind(file);
    if (bytes == NULL || fread(bytes, (size_t)size, 1, file) != 1) {
        return 2;
    }
    const uint32_t scenes = (uint32_t)((size_t)size / (sizeof(expectation) + SCENE_BYTES));
    printf("%u vectors, %u mismatches\n", (unsigned)scenes, (unsigned)mismatches(bytes, scenes));
    free(bytes);
    return fclose(file);
}

#endif
