/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_dot_d8(fedtiny_stream *stream, int32_t entries, const int8_t *input, int32_t features,
                    fedtiny_dot *dot)
{
    if ((stream->end - stream->next) / 2 < entries) {
        return false;
    }
    const uint8_t *pair = stream->next;
    const uint8_t *const end = pair + 2 * entries;
    int32_t position = 0;
    for (; pair != end; pair += 2) {
        position += pair[0];
        if (position >= features) {
            return false;
        }
        const int32_t weight = (int8_t)pair[1];
        dot->product += input[position] * weight;
        dot->weight_sum += weight;
    }
    stream->next = end;
    return true;
}
