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

/** Pairs as entries, those without a weight in the place of the next one; where that is, or NULL
 *  beyond the last weight. */
FEDTINY_NOINLINE static fedtiny_entry *write_pairs(fedtiny_cursor *cursor, const uint8_t *pair,
                                                   const uint8_t *end, fedtiny_entry *next,
                                                   int32_t *weight_sum)
{
    fedtiny_cursor at = *cursor;
    const int32_t step = at.map->channel_step;
    const int32_t scale = INT32_C(1) << at.map->weight_shift;
    int32_t sum = *weight_sum;
    while (pair != end) {
        const int32_t weight = (int8_t)pair[1];
        const int32_t distance = pair[0];
        pair += 2;
        if (!fedtiny_cursor_skip(&at, distance)) {
            return NULL;
        }
        next->offset = at.start + at.position * step;
        next->weight = weight * scale;
        next += weight != 0;
        sum += weight;
    }
    *cursor = at;
    *weight_sum = sum;
    return next;
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
    const uint8_t *const end = stream->next + 2 * entries;
    const fedtiny_entry *const limit = list->entries + list->capacity;
    fedtiny_cursor at = fedtiny_cursor_at_first(&list->map);
    fedtiny_entry *next = list->entries;
    list->weight_sum = 0;
    while (stream->next != end) {
        /* As many as there is room for, or one: a list has room for more than its capacity. */
        const ptrdiff_t room = limit - next;
        const ptrdiff_t left = (end - stream->next) / 2;
        const uint8_t *const until = stream->next + 2 * (room == 0 ? 1 : room < left ? room : left);
        next = write_pairs(&at, stream->next, until, next, &list->weight_sum);
        if (next == NULL || next > limit) {
            return false;
        }
        stream->next = until;
    }
    list->count = (int32_t)(next - list->entries);
    return true;
}
