/* SPDX-License-Identifier: Apache-2.0
 *
 * Weight streams into blocks for the gathering sweep: by decoders that write blocks, or from the
 * entries of those that do not.
 */
#include "fedtiny_gather.h"

#if defined(__ARM_FEATURE_MVE)

fedtiny_gather_rows fedtiny_gather_rows_of(const fedtiny_conv_shape *shape)
{
    const int32_t row_weights = shape->kernel_w * shape->in_c;
    const fedtiny_gather_rows rows = {shape->kernel_h * row_weights, row_weights,
                                      fedtiny_direct_row_bytes(shape) - row_weights};
    return rows;
}

/** Entries to blocks in their place, four at a time. */
static void to_blocks(fedtiny_entry_list *list)
{
    const uint32x4_t words = vmulq_n_u32(vidupq_n_u32(0, 1), 2);
    const int32_t *from = (const int32_t *)(const void *)list->entries;
    fedtiny_block *block = fedtiny_blocks_of(list);
    int32_t left = list->count;
    do {
        for (int32_t half = 0; half < FEDTINY_BLOCK_ENTRIES; half += 4) {
            const mve_pred16_t lanes = vctp32q((uint32_t)fedtiny_max(left, 0));
            const int32x4_t offsets = vldrwq_gather_shifted_offset_z_s32(from, words, lanes);
            const int32x4_t weights = vldrwq_gather_shifted_offset_z_s32(from + 1, words, lanes);
            vstrhq_u32(block->offset + half, vreinterpretq_u32_s32(offsets));
            vstrhq_s32(block->weight + half, weights);
            from += 8;
            left -= 4;
        }
        block++;
    } while (left > 0);
    list->blocks = fedtiny_max(fedtiny_blocks_for(list->count), 1);
}

bool fedtiny_gather_decode(const fedtiny_sparse_weights *weights, fedtiny_stream *stream,
                           int32_t channel, fedtiny_entry_list *list)
{
    list->blocks = 0;
    const bool decoded = weights->decode(stream, weights->entries[channel], list);
    if (decoded && list->blocks == 0) {
        to_blocks(list);
    }
    return decoded;
}

#else

typedef int fedtiny_gather_decode_mve_is_for_other_cores;

#endif
