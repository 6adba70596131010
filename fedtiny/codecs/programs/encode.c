/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures to codes and blocks on an emulated board: for each a line
 *
 *     BYTES CRC16 BLOCKS CRC16_OF_BLOCKS MAPS_THAT_COME_BACK ENCODER_TICKS CODER_TICKS
 *
 * pictures.bin, which fedtiny.codecs.emulated writes, holds uint8 (H, W, C), one after another.
 */
#include "board.h"
#include "code_tables.h"
#include "fedtiny_blocks.h"
#include "model.h"

#define MOST_PICTURES 64u
#define CODE_BYTES 4096u

BOARD_EXTERNAL static uint8_t pictures[MOST_PICTURES][MODEL_INPUT_VALUES];
BOARD_EXTERNAL static uint8_t blocks[CODE_BYTES * 2u];
BOARD_EXTERNAL static uint8_t symbols[MODEL_CLASSES];
static int8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(MODEL_ARENA_ALIGNMENT)));
static uint8_t code[CODE_BYTES];

static void say(uint32_t value, const char *after)
{
    board_print_u32(value);
    board_print(after);
}

static int encode(const uint8_t *picture)
{
    const uint64_t start = board_ticks();
    fedtiny_code_input(model_input_of, picture, MODEL_INPUT_HEIGHT * FEDTINY_CODE_CELL,
                       MODEL_INPUT_WIDTH * FEDTINY_CODE_CELL,
                       MODEL_INPUT_CHANNELS / (FEDTINY_CODE_CELL * FEDTINY_CODE_CELL),
                       model_input(arena));
    if (model_invoke(arena) != MODEL_OK) {
        return 1;
    }
    const uint64_t middle = board_ticks();
    const size_t size = fedtiny_code_encode(&model_code, model_output(arena), code, sizeof code);
    const uint64_t end = board_ticks();
    size_t sent = 0;
    uint8_t index = 0;
    for (size_t block; (block = fedtiny_block_write(blocks + sent, 5, index, code, size)) > 0;) {
        sent += block;
        index++;
    }
    say((uint32_t)size, " ");
    say(fedtiny_crc16(code, size), " ");
    say(index, " ");
    say(fedtiny_crc16(blocks, sent), " ");
    say(fedtiny_code_decode(&model_code, code, size, symbols), " ");
    say((uint32_t)(middle - start), " ");
    say((uint32_t)(end - middle), "\n");
    return 0;
}

int main(void)
{
    const int32_t bytes = board_read_file("pictures.bin", pictures, sizeof pictures);
    if (bytes < 0 || model_init() != MODEL_OK) {
        return 1;
    }
    for (uint32_t i = 0; i < (uint32_t)bytes / sizeof pictures[0]; i++) {
        if (encode(pictures[i])) {
            return 1;
        }
    }
    return 0;
}
