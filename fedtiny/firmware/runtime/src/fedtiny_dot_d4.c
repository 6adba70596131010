/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_dot_d4(fedtiny_stream *stream, int32_t entries, const int8_t *input, int32_t features,
                    fedtiny_dot *dot)
{
    const int32_t weight_bytes = (entries + 1) / 2;
    if (stream->end - stream->next < entries + weight_bytes) {
        return false;
    }
    const uint8_t *const distances = stream->next;
    const uint8_t *const weights = distances + entries;
    int32_t position = 0;
    for (int32_t i = 0; i < entries; i++) {
        const int32_t two = weights[i / 2];
        const int32_t weight = (i & 1) == 0 ? fedtiny_low_nibble(two) : fedtiny_high_nibble(two);
        position += distances[i];
        if (position >= features) {
            return false;
        }
        dot->product += input[position] * weight;
        dot->weight_sum += weight;
    }
    stream->next += entries + weight_bytes;
    return true;
}
