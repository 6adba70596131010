/* SPDX-License-Identifier: Apache-2.0
 *
 * The direct kernel on cores with MVE: eight inputs are gathered at once from their offsets.
 */
#ifndef FEDTINY_GATHER_H
#define FEDTINY_GATHER_H

#include "fedtiny_mve.h"

#if defined(__ARM_FEATURE_MVE)

#define FEDTINY_BLOCK_ENTRIES 8

/** Eight weights and where their inputs lie; what is left over has weight 0. */
typedef struct {
    uint16_t offset[FEDTINY_BLOCK_ENTRIES];
    int16_t weight[FEDTINY_BLOCK_ENTRIES];
} fedtiny_block;

/** Where an output channel's weights lie in the input: rows of neighbouring bytes. */
typedef struct fedtiny_gather_rows {
    int32_t weights;
    int32_t row_weights;
    int32_t row_gap; /**< Bytes between the end of a kernel row's inputs and the next one's. */
} fedtiny_gather_rows;

/** Whether a layer's offsets fit in 16 bits, its map is wide enough for groups of four and no output
 *  is shifted to the left. */
bool fedtiny_gather_suits(const fedtiny_conv_job *job);

fedtiny_gather_rows fedtiny_gather_rows_of(const fedtiny_conv_shape *shape);

/** Decode a channel's weights into blocks, at least one; false as of any decoder. */
bool fedtiny_gather_decode(const fedtiny_sparse_weights *weights, fedtiny_stream *stream,
                           int32_t channel, fedtiny_entry_list *list);

/** All channels over a band; false as of a decoder. */
bool fedtiny_gather_run_band(const fedtiny_conv_job *job, fedtiny_entry_list *list,
                             const fedtiny_direct_sweep *sweep);

/* ---- for decoders -------------------------------------------------------------------------- */

FEDTINY_INLINE fedtiny_block *fedtiny_blocks_of(const fedtiny_entry_list *list)
{
    return (fedtiny_block *)(void *)list->entries;
}

FEDTINY_INLINE int32_t fedtiny_blocks_for(int32_t entries)
{
    return (entries + FEDTINY_BLOCK_ENTRIES - 1) / FEDTINY_BLOCK_ENTRIES;
}

/** Blocks that fit in the list's memory. */
FEDTINY_INLINE int32_t fedtiny_block_room(const fedtiny_entry_list *list)
{
    return fedtiny_entries_bytes_for(list->capacity) / (int32_t)sizeof(fedtiny_block);
}

/** Each lane plus all lanes before it. */
FEDTINY_INLINE uint16x8_t fedtiny_running_sums(uint16x8_t values, uint16_t *memory)
{
    uint16_t *const here = memory + FEDTINY_BLOCK_ENTRIES; /* after zeros */
    vst1q_u16(here, values);
    values = vaddq_u16(values, vld1q_u16(here - 1));
    vst1q_u16(here, values);
    values = vaddq_u16(values, vld1q_u16(here - 2));
    vst1q_u16(here, values);
    return vaddq_u16(values, vld1q_u16(here - 4));
}

/** Positions among the weights to offsets in the input. */
FEDTINY_INLINE uint16x8_t fedtiny_offsets_of(uint16x8_t positions, const fedtiny_gather_rows *rows)
{
    uint16x8_t offsets = positions;
    for (int32_t start = rows->row_weights; start < rows->weights; start += rows->row_weights) {
        const uint16x8_t beyond = vqsubq_n_u16(positions, (uint16_t)(start - 1));
        const uint16x8_t one = vminq_u16(beyond, vdupq_n_u16(1));
        offsets = vmlaq_n_u16(offsets, one, (uint16_t)rows->row_gap);
    }
    return offsets;
}

/** What a decoder of distances has read so far. */
typedef struct {
    uint32_t position;
    int32_t weight_sum;
} fedtiny_progress;

/** Eight entries by their distances; `memory` begins with zeros. */
FEDTINY_INLINE void fedtiny_write_block(uint16x8_t distances, int16x8_t weights, uint16_t *memory,
                                        const fedtiny_gather_rows *rows, fedtiny_progress *to,
                                        fedtiny_block *block)
{
    const uint16x8_t positions =
        vaddq_n_u16(fedtiny_running_sums(distances, memory), (uint16_t)to->position);
    vst1q_u16(block->offset, fedtiny_offsets_of(positions, rows));
    vst1q_s16(block->weight, weights);
    to->position = vaddvaq_u16(to->position, distances);
    to->weight_sum = vaddvaq_s16(to->weight_sum, weights);
}

/** Whether there is room for all entries, those without a weight included. */
FEDTINY_INLINE bool fedtiny_blocks_suit(const fedtiny_entry_list *list, int32_t entries)
{
    return list->rows != NULL && entries > 0 &&
           fedtiny_blocks_for(entries) <= fedtiny_block_room(list);
}

#endif

#endif /* FEDTINY_GATHER_H */
