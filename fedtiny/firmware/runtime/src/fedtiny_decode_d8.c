/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_gather.h"

#if defined(__ARM_FEATURE_MVE)

/** Eight pairs at a time; those that only bridge a distance stay, with a weight of 0. */
static bool decode_blocks(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    uint16_t memory[2 * FEDTINY_BLOCK_ENTRIES];
    vst1q_u16(memory, vdupq_n_u16(0));
    const fedtiny_gather_rows rows = *list->rows;
    const uint16x8_t pairs = vmulq_n_u16(vidupq_n_u16(0, 1), 2);
    const uint8_t *pair = stream->next;
    fedtiny_block *block = fedtiny_blocks_of(list);
    fedtiny_progress done = {0, 0};
    int32_t left = entries;
    for (; left >= FEDTINY_BLOCK_ENTRIES; left -= FEDTINY_BLOCK_ENTRIES) {
        fedtiny_write_block(vldrbq_gather_offset_u16(pair, pairs),
                            vldrbq_gather_offset_s16((const int8_t *)pair + 1, pairs), memory,
                            &rows, &done, block);
        pair += 2 * FEDTINY_BLOCK_ENTRIES;
        block++;
    }
    if (left > 0) {
        const mve_pred16_t lanes = vctp16q((uint32_t)left);
        fedtiny_write_block(vldrbq_gather_offset_z_u16(pair, pairs, lanes),
                            vldrbq_gather_offset_z_s16((const int8_t *)pair + 1, pairs, lanes),
                            memory, &rows, &done, block);
    }
    stream->next += 2 * entries;
    list->blocks = fedtiny_blocks_for(entries);
    list->weight_sum = done.weight_sum;
    return done.position < (uint32_t)rows.weights; /* the last position is the largest */
}

#endif

/** More pairs than there is room for: some of them have to bridge distances only. */
FEDTINY_NOINLINE static bool decode_crowded(fedtiny_stream *stream, int32_t entries,
                                            fedtiny_entry_list *list)
{
    const uint8_t *pair = stream->next;
    const uint8_t *const end = pair + 2 * entries;
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    for (; pair != end; pair += 2) {
        const int32_t weight = (int8_t)pair[1];
        if (!fedtiny_entry_writer_skip(&writer, pair[0])) {
            return false;
        }
        if (weight != 0) {
            if (fedtiny_entry_writer_is_full(&writer)) {
                return false;
            }
            fedtiny_entry_writer_put(&writer, weight);
        }
    }
    fedtiny_entry_writer_finish(&writer, list);
    stream->next = end;
    return true;
}

bool fedtiny_decode_d8(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    if ((stream->end - stream->next) / 2 < entries) {
        return false;
    }
#if defined(__ARM_FEATURE_MVE)
    if (fedtiny_blocks_suit(list, entries)) {
        return decode_blocks(stream, entries, list);
    }
#endif
    if (entries > list->capacity) {
        return decode_crowded(stream, entries, list);
    }
    const uint8_t *pair = stream->next;
    const uint8_t *const end = pair + 2 * entries;
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    while (pair != end) {
        const int32_t weight = (int8_t)pair[1];
        const int32_t distance = pair[0];
        pair += 2;
        if (!fedtiny_entry_writer_skip(&writer, distance)) {
            return false;
        }
        /* What has no weight is written, too, and the next one in its place. */
        fedtiny_entry_writer_put(&writer, weight);
        writer.next -= weight == 0;
    }
    fedtiny_entry_writer_finish(&writer, list);
    stream->next = end;
    return true;
}
