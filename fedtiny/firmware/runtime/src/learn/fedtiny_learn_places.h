/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers within an arena of bytes. Not part of the interface.
 */
#ifndef FEDTINY_LEARN_PLACES_H
#define FEDTINY_LEARN_PLACES_H

#include <stdint.h>

/** Floats at a byte offset that is a multiple of 4; the arena is aligned. */
static inline float *fedtiny_learn_floats(int8_t *arena, uint32_t offset)
{
    return (float *)(void *)(arena + offset);
}

static inline uint8_t *fedtiny_learn_bytes(int8_t *arena, uint32_t offset)
{
    return (uint8_t *)(arena + offset);
}

#endif /* FEDTINY_LEARN_PLACES_H */
