/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_dot_n4(fedtiny_stream *stream, int32_t entries, const int8_t *input, int32_t features,
                    fedtiny_dot *dot)
{
    const int32_t gap_bytes = (entries + 1) / 2;
    if (stream->end - stream->next < gap_bytes) {
        return false;
    }
    const uint8_t *const gaps = stream->next;
    const uint8_t *value = gaps + gap_bytes;
    int32_t position = 0;
    for (int32_t i = 0; i < entries; i++) {
        const int32_t gap = (gaps[i / 2] >> (4 * (i & 1))) & 15;
        position += gap;
        if (gap != 15) {
            if (position >= features || value == stream->end) {
                return false;
            }
            const int32_t weight = (int8_t)*value++;
            dot->product += input[position] * weight;
            dot->weight_sum += weight;
            position++;
        }
    }
    stream->next = value;
    return true;
}
