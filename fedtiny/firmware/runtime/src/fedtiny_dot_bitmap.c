/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_dot_bitmap(fedtiny_stream *stream, int32_t entries, const int8_t *input,
                        int32_t features, fedtiny_dot *dot)
{
    const int32_t map_bytes = (features + 7) / 8;
    if (stream->end - stream->next < map_bytes + entries) {
        return false;
    }
    const uint8_t *const bitmap = stream->next;
    const uint8_t *value = bitmap + map_bytes;
    const uint8_t *const end = value + entries;
    for (int32_t i = 0; i < map_bytes; i++) {
        int32_t position = 8 * i;
        for (uint32_t bits = bitmap[i]; bits != 0u; bits >>= 1) {
            if ((bits & 1u) != 0u) {
                if (position >= features || value == end) {
                    return false;
                }
                const int32_t weight = (int8_t)*value++;
                dot->product += input[position] * weight;
                dot->weight_sum += weight;
            }
            position++;
        }
    }
    stream->next = end;
    return value == end;
}
