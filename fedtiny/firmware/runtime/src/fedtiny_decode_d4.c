/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_gather.h"

#if defined(__ARM_FEATURE_MVE)

/** The eight weights of four bytes; 0 in lanes that there are not. */
FEDTINY_INLINE int16x8_t weights_of(const uint8_t *bytes, mve_pred16_t lanes)
{
    static const int16_t halves[FEDTINY_BLOCK_ENTRIES] = {0, -4, 0, -4, 0, -4, 0, -4};
    const uint16x8_t twice = vshrq_n_u16(vidupq_n_u16(0, 1), 1);
    const uint16x8_t both = vldrbq_gather_offset_z_u16(bytes, twice, lanes);
    const uint16x8_t nibbles = vandq_u16(vshlq_u16(both, vld1q_s16(halves)), vdupq_n_u16(15));
    return vsubq_n_s16(vreinterpretq_s16_u16(veorq_u16(nibbles, vdupq_n_u16(8))), 8);
}

/** Eight entries at a time; those that only bridge a distance stay, with a weight of 0. */
static bool decode_blocks(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    uint16_t memory[2 * FEDTINY_BLOCK_ENTRIES];
    vst1q_u16(memory, vdupq_n_u16(0));
    const fedtiny_gather_rows rows = *list->rows;
    const uint8_t *distance = stream->next;
    const uint8_t *weights = distance + entries;
    fedtiny_block *block = fedtiny_blocks_of(list);
    fedtiny_progress done = {0, 0};
    for (int32_t left = entries; left > 0; left -= FEDTINY_BLOCK_ENTRIES) {
        const mve_pred16_t lanes = vctp16q((uint32_t)left);
        fedtiny_write_block(vldrbq_z_u16(distance, lanes), weights_of(weights, lanes), memory,
                            &rows, &done, block);
        distance += FEDTINY_BLOCK_ENTRIES;
        weights += FEDTINY_BLOCK_ENTRIES / 2;
        block++;
    }
    stream->next += entries + (entries + 1) / 2;
    list->blocks = fedtiny_blocks_for(entries);
    list->weight_sum = done.weight_sum;
    return done.position < (uint32_t)rows.weights; /* the last position is the largest */
}

#endif

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

/** The same where there is room for all: what has no weight is written, too, and the next one in
 *  its place. */
FEDTINY_INLINE bool take_any(fedtiny_entry_writer *writer, int32_t distance, int32_t weight)
{
    if (!fedtiny_entry_writer_skip(writer, distance)) {
        return false;
    }
    fedtiny_entry_writer_put(writer, weight);
    writer->next -= weight == 0;
    return true;
}

/** More entries than there is room for: some of them have to bridge distances only. */
FEDTINY_NOINLINE static bool decode_crowded(const uint8_t *distances, int32_t entries,
                                            fedtiny_entry_list *list)
{
    const uint8_t *const weights = distances + entries;
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    for (int32_t i = 0; i < entries; i++) {
        const int32_t two = weights[i / 2];
        const int32_t weight = (i & 1) == 0 ? fedtiny_low_nibble(two) : fedtiny_high_nibble(two);
        if (!take(&writer, distances[i], weight)) {
            return false;
        }
    }
    fedtiny_entry_writer_finish(&writer, list);
    return true;
}

static bool decode(const uint8_t *distance, int32_t entries, fedtiny_entry_list *list)
{
    const uint8_t *weights = distance + entries;
    const uint8_t *const end = weights + entries / 2;
    fedtiny_entry_writer writer = fedtiny_entry_writer_start(list, entries);
    while (weights != end) {
        const int32_t two = *weights++;
        const int32_t first = distance[0];
        const int32_t second = distance[1];
        distance += 2;
        if (!take_any(&writer, first, fedtiny_low_nibble(two)) ||
            !take_any(&writer, second, fedtiny_high_nibble(two))) {
            return false;
        }
    }
    if ((entries & 1) != 0 && !take_any(&writer, *distance, fedtiny_low_nibble(*weights))) {
        return false;
    }
    fedtiny_entry_writer_finish(&writer, list);
    return true;
}

bool fedtiny_decode_d4(fedtiny_stream *stream, int32_t entries, fedtiny_entry_list *list)
{
    const int32_t weight_bytes = (entries + 1) / 2;
    if (stream->end - stream->next < entries + weight_bytes) {
        return false;
    }
#if defined(__ARM_FEATURE_MVE)
    if (fedtiny_blocks_suit(list, entries)) {
        return decode_blocks(stream, entries, list);
    }
#endif
    const uint8_t *const distances = stream->next;
    stream->next += entries + weight_bytes;
    return entries > list->capacity ? decode_crowded(distances, entries, list)
                                    : decode(distances, entries, list);
}
