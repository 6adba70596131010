/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_gather.h"

#if defined(__ARM_FEATURE_MVE)

/** All weights, zeros too. */
static void decode_blocks(const int8_t *values, fedtiny_entry_list *list)
{
    const fedtiny_gather_rows rows = *list->rows;
    fedtiny_block *block = fedtiny_blocks_of(list);
    uint16x8_t positions = vidupq_n_u16(0, 1);
    int32_t sum = 0;
    for (int32_t left = rows.weights; left > 0; left -= FEDTINY_BLOCK_ENTRIES) {
        const mve_pred16_t lanes = vctp16q((uint32_t)left);
        const int16x8_t weights = vldrbq_z_s16(values, lanes);
        const uint16x8_t offsets = fedtiny_offsets_of(positions, &rows);
        vst1q_u16(block->offset, vpselq_u16(offsets, vdupq_n_u16(0), lanes));
        vst1q_s16(block->weight, weights);
        sum = vaddvaq_s16(sum, weights);
        positions = vaddq_n_u16(positions, FEDTINY_BLOCK_ENTRIES);
        values += FEDTINY_BLOCK_ENTRIES;
        block++;
    }
    list->blocks = fedtiny_blocks_for(rows.weights);
    list->weight_sum = sum;
}

static bool writes_blocks(const fedtiny_entry_list *list)
{
    return list->rows != NULL &&
           fedtiny_blocks_for(list->rows->weights) <= fedtiny_block_room(list);
}

#endif

bool fedtiny_decode_dense(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    const int32_t count = list->map.taps * list->map.channels;
    if (stream->end - stream->next < count) {
        return false;
    }
    const uint8_t *const values = stream->next;
#if defined(__ARM_FEATURE_MVE)
    if (writes_blocks(list)) {
        decode_blocks((const int8_t *)values, list);
        stream->next = values + count;
        return true;
    }
#endif
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    int32_t skipped = 0;
    for (int32_t i = 0; i < count; i++) {
        const int32_t weight = (int8_t)values[i];
        if (weight != 0) {
            if (fedtiny_entry_writer_is_full(&writer) ||
                !fedtiny_entry_writer_skip(&writer, skipped)) {
                return false;
            }
            fedtiny_entry_writer_put(&writer, weight);
            skipped = 0;
        }
        skipped++;
    }
    fedtiny_entry_writer_finish(&writer, list);
    stream->next = values + count;
    return true;
}
