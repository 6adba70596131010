/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads frames of a file in both stages and compares every byte with what the file expects; on a
 * host every array is an allocation of exactly its size, so that a sanitizer sees any access beyond.
 * Prints "N cases, M mismatches".
 */
#include <string.h>

#include "fedtiny_sensor.h"

/** Fixed part of a case, all int32; then the lines (uint16), and the bytes of the three outputs. */
typedef struct {
    int32_t width, height, channels, bits, pooling, grey;
    fedtiny_sensor_box box;
    cmsis_nn_tile size;
    int32_t rows;      /* that the callback yields */
    int32_t status[3]; /* expected of pooled, box, scaled box */
    int32_t bytes[3];  /* of their outputs; 0 where they fail */
} header;

#if defined(FEDTINY_BOARD)

#include "board.h"

enum { FILE_BYTES = 1024 * 1024, HEAP_BYTES = 64 * 1024 };

static uint8_t heap[HEAP_BYTES] __attribute__((aligned(8)));
static uint32_t heap_at;
BOARD_EXTERNAL static uint8_t file_bytes[FILE_BYTES];

static void *reserve(uint32_t size)
{
    void *const memory = heap + heap_at;
    heap_at += (size + 7u) & ~7u;
    return heap_at <= HEAP_BYTES ? memory : NULL;
}

static void release(void *memory)
{
    heap_at = (uint32_t)((uint8_t *)memory - heap);
}

static void print(uint32_t value, const char *text)
{
    board_print_u32(value);
    board_print(text);
}

#else

#include <stdio.h>
#include <stdlib.h>

static void *reserve(uint32_t size)
{
    return malloc(size > 0 ? size : 1);
}

static void release(void *memory)
{
    free(memory);
}

static void print(uint32_t value, const char *text)
{
    printf("%lu%s", (unsigned long)value, text);
}

#endif

/** The frame, and how much of it the callback yields. */
typedef struct {
    const header *h;
    const uint8_t *lines;
    uint16_t *line; /* as a camera's driver has one */
    int32_t next;   /* row that has to come next; -1 before the first */
} frame;

static const uint16_t *line_of(void *context, int32_t row)
{
    frame *const f = context;
    const size_t bytes = 2u * (size_t)(f->h->width * f->h->channels);
    if (row >= f->h->rows || (f->next >= 0 && row != f->next)) {
        return NULL;
    }
    f->next = row + 1;
    memcpy(f->line, f->lines + (size_t)row * bytes, bytes);
    return f->line;
}

static int32_t scratch_bytes(int which, const fedtiny_sensor *sensor, const header *h)
{
    switch (which) {
    case 0:
        return h->pooling < 1 ? 0
                              : fedtiny_sensor_read_pooled_get_buffer_size(sensor, h->pooling,
                                                                           h->grey != 0);
    case 2: return fedtiny_sensor_read_roi_scaled_get_buffer_size(sensor, &h->size, h->grey != 0);
    default: return 0;
    }
}

static int32_t call(int which, const cmsis_nn_context *ctx, const fedtiny_sensor *sensor,
                    const header *h, uint8_t *output)
{
    switch (which) {
    case 0: return (int32_t)fedtiny_sensor_read_pooled(ctx, sensor, h->pooling, h->grey != 0, output);
    case 1: return (int32_t)fedtiny_sensor_read_roi(sensor, &h->box, output);
    default:
        return (int32_t)fedtiny_sensor_read_roi_scaled(ctx, sensor, &h->box, &h->size, h->grey != 0,
                                                       output);
    }
}

static int agrees(int which, const header *h, const uint8_t *lines, const uint8_t *expected)
{
    const uint32_t line_bytes = 2u * (uint32_t)(h->width * h->channels);
    frame f = {h, lines, NULL, -1};
    const fedtiny_sensor sensor = {h->width, h->height, h->channels, h->bits, line_of, &f};
    const uint32_t bytes = (uint32_t)h->bytes[which];
    const int32_t scratch = scratch_bytes(which, &sensor, h);
    uint16_t *const line = reserve(line_bytes);
    /* A reader that fails halfway has written a part. */
    uint8_t *const output = reserve(bytes > 0 ? bytes : 4096u);
    void *const buffer = reserve(scratch > 0 ? (uint32_t)scratch : 0u);
    if (line == NULL || output == NULL || buffer == NULL) {
        return 0;
    }
    f.line = line;
    const cmsis_nn_context ctx = {buffer, scratch};
    const int32_t status = call(which, &ctx, &sensor, h, output);
    const int agree = status == h->status[which] && memcmp(output, expected, bytes) == 0;
    release(buffer);
    release(output);
    release(line);
    return agree;
}

static int run(const uint8_t *file, uint32_t end)
{
    uint32_t cases = 0, mismatches = 0;
    for (uint32_t at = 0; at < end; cases++) {
        header h;
        memcpy(&h, file + at, sizeof h);
        const uint8_t *const lines = file + at + sizeof h;
        at += (uint32_t)sizeof h + 2u * (uint32_t)(h.width * h.height * h.channels);
        for (int which = 0; which < 3; which++) {
            mismatches += agrees(which, &h, lines, file + at) ? 0u : 1u;
            at += (uint32_t)h.bytes[which];
        }
    }
    print(cases, " cases, ");
    print(mismatches, " mismatches\n");
    return cases == 0;
}

#if defined(FEDTINY_BOARD)

int main(void)
{
    const int32_t size = board_read_file("cases", file_bytes, FILE_BYTES);
    return size <= 0 ? 2 : run(file_bytes, (uint32_t)size);
}

#else

int main(void)
{
    FILE *const file = fopen("cases", "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        return 2;
    }
    const long size = ftell(file);
    uint8_t *const bytes = reserve((uint32_t)size);
    rewind(file);
    const int failed = bytes == NULL || fread(bytes, (size_t)size, 1, file) != 1 ||
                       run(bytes, (uint32_t)size) != 0;
    free(bytes);
    fclose(file);
    return failed;
}

#endif
