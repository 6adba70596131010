/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

/** The distance is there whether or not it has a weight; false if it leads too far. */
FEDTINY_INLINE bool take(fedtiny_entry_writer *writer, int32_t distance, int32_t weight)
{
    if (!fedtiny_entry_writer_skip(writer, distance)) {
        return false;
    }
    if (weight != 0) {
        if (fedtiny_entry_writer_is_full(writer)) {
            return false;
        }
        fedtiny_entry_writer_put(writer, weight);
    }
    return true;
}

bool fedtiny_decode_d4(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    const int32_t weight_bytes = (entries + 1) / 2;
    if (stream->end - stream->next < entries + weight_bytes) {
        return false;
    }
    const uint8_t *distance = stream->next;
    const uint8_t *weights = distance + entries;
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    for (int32_t left = entries; left >= 2; left -= 2) {
        const int32_t two = *weights++;
        if (!take(&writer, distance[0], fedtiny_low_nibble(two)) ||
            !take(&writer, distance[1], fedtiny_high_nibble(two))) {
            return false;
        }
        distance += 2;
    }
    if ((entries & 1) != 0 && !take(&writer, *distance, fedtiny_low_nibble(*weights))) {
        return false;
    }
    fedtiny_entry_writer_finish(&writer, list);
    stream->next += entries + weight_bytes;
    return true;
}
