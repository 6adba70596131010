/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures to baseline JPEG files by libjpeg-turbo on an emulated board: for each a line
 *
 *     BYTES CRC16 TICKS
 *
 * Ticks are those of a file: the compressor is made and its tables are set before, as a camera would
 * that sends many. pictures.bin holds uint8 (H, W) pictures one after another.
 */
#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

#include "board.h"
#include "fedtiny_blocks.h"

#define MOST_PICTURES 64u
#define FILE_BYTES 8192u
#define HEAP_BYTES 131072u

BOARD_EXTERNAL static uint8_t pictures[MOST_PICTURES][JPEG_HEIGHT][JPEG_WIDTH];
static uint8_t file[FILE_BYTES];
static struct jpeg_compress_struct compressor;
static struct jpeg_error_mgr errors;

static uint8_t heap[HEAP_BYTES] __attribute__((aligned(8)));
static size_t heap_used;

/** newlib's: what libjpeg's allocations come from. */
void *_sbrk(ptrdiff_t more)
{
    void *at = heap + heap_used;
    if (more > (ptrdiff_t)(sizeof heap - heap_used)) {
        return (void *)-1;
    }
    heap_used += (size_t)more;
    return at;
}

static void say(uint32_t value, const char *after)
{
    board_print_u32(value);
    board_print(after);
}

static void fail(j_common_ptr unused)
{
    (void)unused;
    board_exit(2);
}

static void compress(uint8_t (*rows)[JPEG_WIDTH])
{
    unsigned char *to = file;
    unsigned long size = sizeof file;
    const uint64_t start = board_ticks();
    jpeg_mem_dest(&compressor, &to, &size);
    jpeg_start_compress(&compressor, (boolean)JPEG_TABLES);
    for (JDIMENSION row = 0; row < JPEG_HEIGHT; row++) {
        JSAMPROW line = rows[row];
        jpeg_write_scanlines(&compressor, &line, 1);
    }
    jpeg_finish_compress(&compressor);
    const uint64_t end = board_ticks();
    say((uint32_t)size, " ");
    say(fedtiny_crc16(file, size), " ");
    say((uint32_t)(end - start), "\n");
}

int main(void)
{
    const int32_t bytes = board_read_file("pictures.bin", pictures, sizeof pictures);
    if (bytes < 0) {
        return 1;
    }
    compressor.err = jpeg_std_error(&errors);
    errors.error_exit = fail;
    jpeg_create_compress(&compressor);
    compressor.image_width = JPEG_WIDTH;
    compressor.image_height = JPEG_HEIGHT;
    compressor.input_components = 1;
    compressor.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&compressor);
    jpeg_set_quality(&compressor, JPEG_QUALITY, TRUE);
    compressor.dct_method = JPEG_DCT;
    if (!JPEG_TABLES) {
        jpeg_suppress_tables(&compressor, TRUE);
    }
    for (uint32_t i = 0; i < (uint32_t)bytes / sizeof pictures[0]; i++) {
        compress(pictures[i]);
    }
    return 0;
}
