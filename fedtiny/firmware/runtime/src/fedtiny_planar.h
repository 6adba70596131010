/* SPDX-License-Identifier: Apache-2.0
 *
 * The planar kernel: input rows are repacked as [channel][phase][cell], so that neighbouring
 * outputs of one weight read neighbouring cells. A phase holds the columns that are equal modulo
 * the stride.
 *
 * Without MVE a cell is a 32-bit word that holds two pixels, `low` and `high`:
 *
 *     cell = (low + 128) + high * 2^24                     low unsigned, high signed
 *     sum(cell * (weight << 8)) = sum((low + 128) * weight) * 2^8 + sum(high * weight) * 2^32
 *
 * One 32x32+64-bit multiply-accumulate thus does two exact int8 ones, as long as the first sum
 * fits in 24 bits. With MVE a cell is one int8 pixel.
 */
#ifndef FEDTINY_PLANAR_H
#define FEDTINY_PLANAR_H

#include "fedtiny_nn_internal.h"

/** How a map lies in cells. */
typedef struct {
    int32_t cell_bytes;
    int32_t weight_shift;
    int32_t columns;      /**< Cells an output row. */
    int32_t rows;         /**< Rows to sweep. */
    int32_t pair_columns; /**< From the low pixel's output to the high pixel's. */
    int32_t pair_rows;
    int32_t phases;
    int32_t phase_cells;
    int32_t plane_cells; /**< One channel of one row. */
    int32_t row_bytes;   /**< All channels of one row. */
} fedtiny_planar_layout;

fedtiny_planar_layout fedtiny_planar_layout_of(const fedtiny_conv_shape *shape);

/** Scratch: the tap table, the entries, then the packed rows. */
int32_t fedtiny_planar_buffer_size(const fedtiny_conv_shape *shape,
                                   const fedtiny_sparse_weights *weights, int32_t band_rows);

/** Pack the row of cells whose low pixels are in input row `y` (outside the map: padding). */
void fedtiny_planar_pack_row(const fedtiny_conv_shape *shape, const fedtiny_planar_layout *layout,
                             const int8_t *input, int8_t padding_value, int32_t y, void *row);

/** One output channel over a band of packed rows. */
typedef struct {
    const fedtiny_entry *entries; /**< Followed by one of offset -1. */
    int32_t count;
    int32_t bias;       /**< Folded. */
    int32_t weight_sum;
    fedtiny_requantizer to;
    const uint8_t *cells;
    int32_t row_step; /**< Bytes between the cells of two swept rows. */
    int8_t *output;
    int32_t output_step;
    int32_t output_row_step;
    int32_t high_step; /**< From the low pixel's output to the high pixel's. */
    int32_t rows;
    int32_t columns;
} fedtiny_planar_sweep;

void fedtiny_planar_sweep_run(const fedtiny_planar_sweep *sweep);

#endif /* FEDTINY_PLANAR_H */
