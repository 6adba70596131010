/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_dot_dense(fedtiny_stream *stream, int32_t entries, const int8_t *input,
                       int32_t features, fedtiny_dot *dot)
{
    (void)entries;
    if (stream->end - stream->next < features) {
        return false;
    }
    for (int32_t position = 0; position < features; position++) {
        const int32_t weight = (int8_t)stream->next[position];
        dot->product += input[position] * weight;
        dot->weight_sum += weight;
    }
    stream->next += features;
    return true;
}
