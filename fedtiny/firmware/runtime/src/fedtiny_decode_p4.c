/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_decode_p4(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    if (stream->end - stream->next < entries) {
        return false;
    }
    const uint8_t *entry = stream->next;
    const uint8_t *const end = entry + entries;
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    const int32_t most = list->map.taps * list->map.channels;
    int32_t distance = 0; /* from the writer's position to the next one after all gaps */
    for (; entry != end; entry++) {
        const int32_t weight = fedtiny_high_nibble(*entry);
        const int32_t gap = *entry & 15;
        if (weight == 0) {
            distance += 16 * (gap + 1);
            if (distance > most) {
                return false;
            }
            continue;
        }
        if (fedtiny_entry_writer_is_full(&writer) ||
            !fedtiny_entry_writer_skip(&writer, distance + gap)) {
            return false;
        }
        fedtiny_entry_writer_put(&writer, weight);
        distance = 1;
    }
    fedtiny_entry_writer_finish(&writer, list);
    stream->next = end;
    return true;
}
