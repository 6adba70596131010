/* SPDX-License-Identifier: Apache-2.0
 *
 * Taps of a window that lie within the map. Not part of the interface.
 */
#ifndef FEDTINY_LEARN_TAPS_H
#define FEDTINY_LEARN_TAPS_H

#include <stdint.h>

/** [first, last) of a window's `kernel` taps, centred on cell `at` of `size`. */
typedef struct {
    int32_t first;
    int32_t last;
} fedtiny_learn_taps;

static inline fedtiny_learn_taps fedtiny_learn_taps_at(int32_t at, int32_t size, int32_t kernel)
{
    const int32_t before = at - kernel / 2;
    const int32_t beyond = before + kernel - size;
    const fedtiny_learn_taps taps = {before < 0 ? -before : 0,
                                     beyond > 0 ? kernel - beyond : kernel};
    return taps;
}

#endif /* FEDTINY_LEARN_TAPS_H */
