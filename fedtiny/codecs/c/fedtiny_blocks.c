/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_blocks.h"

#include <string.h>

#define HEAD 2
#define TAIL 2
#define LAST 0x80u

uint16_t fedtiny_crc16(const uint8_t *bytes, size_t size) {
    uint32_t crc = 0xffffu;
    for (; size > 0; size--) {
        crc ^= (uint32_t)*bytes++ << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000u ? crc << 1 ^ 0x1021u : crc << 1;
        }
        crc &= 0xffffu;
    }
    return (uint16_t)crc;
}

size_t fedtiny_block_write(uint8_t *block, uint8_t message, uint8_t index, const uint8_t *code,
                           size_t size) {
    size_t start = (size_t)index * FEDTINY_BLOCK_PAYLOAD;
    if (start >= size) {
        return 0;
    }
    size_t left = size - start;
    size_t carried = left < FEDTINY_BLOCK_PAYLOAD ? left : FEDTINY_BLOCK_PAYLOAD;
    block[0] = (uint8_t)((message & 0x7fu) | (carried == left ? LAST : 0u));
    block[1] = index;
    memcpy(block + HEAD, code + start, carried);
    uint16_t crc = fedtiny_crc16(block, HEAD + carried);
    block[HEAD + carried] = (uint8_t)(crc >> 8);
    block[HEAD + carried + 1] = (uint8_t)(crc & 0xffu);
    return HEAD + carried + TAIL;
}

int fedtiny_block_read(const uint8_t *block, size_t size, fedtiny_block *found) {
    if (size <= HEAD + TAIL || size > FEDTINY_BLOCK_BYTES) {
        return -1;
    }
    uint16_t crc = fedtiny_crc16(block, size - TAIL);
    if (block[size - 2] != (uint8_t)(crc >> 8) || block[size - 1] != (uint8_t)(crc & 0xffu)) {
        return -1;
    }
    found->message = (uint8_t)(block[0] & 0x7fu);
    found->last = (uint8_t)(block[0] >> 7);
    found->index = block[1];
    found->size = (uint8_t)(size - HEAD - TAIL);
    memcpy(found->payload, block + HEAD, found->size);
    return found->last || found->size == FEDTINY_BLOCK_PAYLOAD ? 0 : -1;
}
