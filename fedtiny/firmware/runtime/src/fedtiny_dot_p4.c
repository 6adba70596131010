/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_dot_p4(fedtiny_stream *stream, int32_t entries, const int8_t *input, int32_t features,
                    fedtiny_dot *dot)
{
    if (stream->end - stream->next < entries) {
        return false;
    }
    const uint8_t *entry = stream->next;
    const uint8_t *const end = entry + entries;
    int32_t position = 0;
    for (; entry != end; entry++) {
        const int32_t weight = fedtiny_high_nibble(*entry);
        const int32_t gap = *entry & 15;
        if (weight == 0) {
            position += 16 * (gap + 1);
            continue;
        }
        position += gap;
        if (position >= features) {
            return false;
        }
        dot->product += input[position] * weight;
        dot->weight_sum += weight;
        position++;
    }
    stream->next = end;
    return true;
}
