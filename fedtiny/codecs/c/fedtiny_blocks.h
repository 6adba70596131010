/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of at most 64 bytes that carry a code over a radio, each checked by itself.
 *
 *   byte 0       bit 7: the code ends here; bits 0 to 6: number of the message, modulo 128
 *   byte 1       which block of the message, from 0
 *   1 to 60      bytes of the code; all blocks but the last have 60
 *   last two     CRC-16/CCITT (polynomial 0x1021, from 0xffff) of everything before, high byte first
 */
#ifndef FEDTINY_BLOCKS_H
#define FEDTINY_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FEDTINY_BLOCK_BYTES 64
#define FEDTINY_BLOCK_PAYLOAD 60

typedef struct {
    uint8_t message, index, last, size;
    uint8_t payload[FEDTINY_BLOCK_PAYLOAD];
} fedtiny_block;

uint16_t fedtiny_crc16(const uint8_t *bytes, size_t size);

/* Bytes of the block, 0 if the code has no such block. size: of the whole code, above 0. Blocks may
 * be written in any order and again: to go on after a pause, write the next index. */
size_t fedtiny_block_write(uint8_t *block, uint8_t message, uint8_t index, const uint8_t *code,
                           size_t size);

/* 0, or -1 for what is no block: too short or long, damaged, or cut. */
int fedtiny_block_read(const uint8_t *block, size_t size, fedtiny_block *found);

#ifdef __cplusplus
}
#endif

#endif
