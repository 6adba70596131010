/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_gather.h"

#define SKIP_ONLY 15

/** Where a channel's weights are read. */
typedef struct {
    const uint8_t *next;
    int32_t distance; /**< From the writer's position to the one after the last gap. */
} values;

/** One gap and, unless it only skips, its weight. */
FEDTINY_INLINE bool take(fedtiny_entry_writer *writer, values *from, int32_t gap)
{
    from->distance += gap;
    if (gap == SKIP_ONLY) {
        return true;
    }
    if (fedtiny_entry_writer_is_full(writer) ||
        !fedtiny_entry_writer_skip(writer, from->distance)) {
        return false;
    }
    fedtiny_entry_writer_put(writer, (int8_t)*from->next++);
    from->distance = 1;
    return true;
}

#if defined(__ARM_FEATURE_MVE)

/* Halfwords of blocks that are scattered to by 16-bit offsets. */
#define MAX_BLOCKS 4096

/** The eight gaps of four bytes; 0 in lanes that there are not. */
FEDTINY_INLINE uint16x8_t gaps_of(const uint8_t *bytes, mve_pred16_t lanes)
{
    static const int16_t halves[FEDTINY_BLOCK_ENTRIES] = {0, -4, 0, -4, 0, -4, 0, -4};
    const uint16x8_t twice = vshrq_n_u16(vidupq_n_u16(0, 1), 1);
    const uint16x8_t both = vldrbq_gather_offset_z_u16(bytes, twice, lanes);
    return vandq_u16(vshlq_u16(both, vld1q_s16(halves)), vdupq_n_u16(SKIP_ONLY));
}

/** Zeros after the last entry, up to the end of its block, or a whole block if there is none. */
static void fill_last_block(fedtiny_entry_list *list, int32_t count)
{
    const int32_t used = count % FEDTINY_BLOCK_ENTRIES;
    fedtiny_block *const block = fedtiny_blocks_of(list) + count / FEDTINY_BLOCK_ENTRIES;
    if (used > 0 || count == 0) {
        const mve_pred16_t rest = vpnot(vctp16q((uint32_t)used));
        vst1q_p_u16(block->offset, vdupq_n_u16(0), rest);
        vst1q_p_s16(block->weight, vdupq_n_s16(0), rest);
    }
    list->blocks = fedtiny_max(fedtiny_blocks_for(count), 1);
}

/** Eight gaps at a time; those that only skip leave nothing. */
static bool decode_blocks(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    uint16_t memory[2 * FEDTINY_BLOCK_ENTRIES];
    vst1q_u16(memory, vdupq_n_u16(0));
    const fedtiny_gather_rows rows = *list->rows;
    const uint8_t *gaps = stream->next;
    const int8_t *const stored = (const int8_t *)gaps + (entries + 1) / 2;
    const int32_t limit = fedtiny_min((int32_t)(stream->end - (const uint8_t *)stored),
                                      fedtiny_block_room(list) * FEDTINY_BLOCK_ENTRIES);
    fedtiny_block *const blocks = fedtiny_blocks_of(list);
    uint32_t position = 0;
    uint32_t count = 0;
    int32_t sum = 0;
    for (int32_t left = entries; left > 0; left -= FEDTINY_BLOCK_ENTRIES) {
        const mve_pred16_t lanes = vctp16q((uint32_t)left);
        const uint16x8_t gap = gaps_of(gaps, lanes);
        const mve_pred16_t has_weight = vcmpneq_m_n_u16(gap, SKIP_ONLY, lanes);
        const uint16x8_t one = vpselq_u16(vdupq_n_u16(1), vdupq_n_u16(0), has_weight);
        const uint16x8_t distances = vaddq_u16(gap, one);
        const uint16x8_t ends = fedtiny_running_sums(distances, memory);
        const uint16x8_t positions = vaddq_n_u16(ends, (uint16_t)(position - 1u));
        const uint16x8_t numbers = fedtiny_running_sums(one, memory);
        const uint16x8_t index = vaddq_n_u16(numbers, (uint16_t)(count - 1u));
        position = vaddvaq_u16(position, distances);
        count = vaddvaq_u16(count, one);
        if (count > (uint32_t)fedtiny_max(limit, 0)) {
            return false;
        }
        const int16x8_t weights = vldrbq_gather_offset_z_s16(stored, index, has_weight);
        const uint16x8_t place = vaddq_u16(index, vbicq_n_u16(index, 7));
        vstrhq_scatter_shifted_offset_p_u16(blocks->offset, place,
                                            fedtiny_offsets_of(positions, &rows), has_weight);
        vstrhq_scatter_shifted_offset_p_s16(blocks->weight, place, weights, has_weight);
        sum = vaddvaq_s16(sum, weights);
        gaps += FEDTINY_BLOCK_ENTRIES / 2;
    }
    fill_last_block(list, (int32_t)count);
    stream->next = (const uint8_t *)stored + count;
    list->weight_sum = sum;
    return position <= (uint32_t)rows.weights;
}

#endif

bool fedtiny_decode_n4(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    if (stream->end - stream->next < (entries + 1) / 2) {
        return false;
    }
#if defined(__ARM_FEATURE_MVE)
    if (list->rows != NULL && fedtiny_block_room(list) <= MAX_BLOCKS) {
        return decode_blocks(stream, entries, list);
    }
#endif
    const uint8_t *gaps = stream->next;
    values from = {gaps + (entries + 1) / 2, 0};
    fedtiny_entry_writer writer =
        fedtiny_entry_writer_start(list, (int32_t)(stream->end - from.next));
    for (int32_t left = entries; left >= 2; left -= 2) {
        const int32_t two = *gaps++;
        if (!take(&writer, &from, two & 15) || !take(&writer, &from, two >> 4)) {
            return false;
        }
    }
    if ((entries & 1) != 0 && !take(&writer, &from, *gaps & 15)) {
        return false;
    }
    fedtiny_entry_writer_finish(&writer, list);
    stream->next = from.next;
    return true;
}
