/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_planar.h"

#if !defined(__ARM_FEATURE_MVE)

/** What both lanes hold before the first weight; the low lane counts its pixels from -128. */
static int64_t start_of(const fedtiny_planar_sweep *sweep)
{
    const int64_t low = (int64_t)sweep->bias - 128 * (int64_t)sweep->weight_sum;
    return low * 256 + (int64_t)sweep->bias * (INT64_C(1) << 32);
}

static int32_t low_sum(int64_t lanes)
{
    return (int32_t)(uint32_t)((uint64_t)lanes & UINT32_MAX) >> 8;
}

/** The low lane's sign was borrowed from the high lane. */
static int32_t high_sum(int64_t lanes)
{
    return (int32_t)(lanes >> 32) + (low_sum(lanes) < 0 ? 1 : 0);
}

static void store(const fedtiny_planar_sweep *sweep, int64_t lanes, int8_t *output)
{
    const fedtiny_requantizer *const to = &sweep->to;
    if (fedtiny_requantizer_is_plain(to)) {
        output[0] = fedtiny_requantize_plain_s8(low_sum(lanes), to);
        output[sweep->high_step] = fedtiny_requantize_plain_s8(high_sum(lanes), to);
    } else {
        output[0] = fedtiny_requantize_s8(low_sum(lanes), to);
        output[sweep->high_step] = fedtiny_requantize_s8(high_sum(lanes), to);
    }
}

/** `width` neighbouring cells, at most 4. */
FEDTINY_INLINE void tile(const fedtiny_planar_sweep *sweep, int64_t start, const uint8_t *cells,
                         int8_t *output, const int32_t width)
{
    int64_t lanes[4];
    const fedtiny_entry *entry = sweep->entries;
    const fedtiny_entry *const end = entry + sweep->count;
    for (int32_t i = 0; i < width; i++) {
        lanes[i] = start;
    }
    for (; entry != end; entry++) {
        const int32_t *const cell = (const int32_t *)(const void *)(cells + entry->offset);
        const int32_t weight = entry->weight;
        for (int32_t i = 0; i < width; i++) {
            lanes[i] += (int64_t)cell[i] * weight;
        }
    }
    for (int32_t i = 0; i < width; i++) {
        store(sweep, lanes[i], output + i * sweep->output_step);
    }
}

static void sweep_portable(const fedtiny_planar_sweep *sweep)
{
    const int64_t start = start_of(sweep);
    const int32_t cell_bytes = (int32_t)sizeof(int32_t);
    for (int32_t row = 0; row < sweep->rows; row++) {
        const uint8_t *cells = sweep->cells + row * sweep->row_step;
        int8_t *output = sweep->output + row * sweep->output_row_step;
        int32_t left = sweep->columns;
        for (; left >= 4; left -= 4) {
            tile(sweep, start, cells, output, 4);
            cells += 4 * cell_bytes;
            output += 4 * sweep->output_step;
        }
        for (; left > 0; left--) {
            tile(sweep, start, cells, output, 1);
            cells += cell_bytes;
            output += sweep->output_step;
        }
    }
}

#if defined(__ARM_FEATURE_DSP)

/** Arguments of the assembly sweep, which reads them by position. */
typedef struct {
    int32_t start_low;
    int32_t start_high;
    const fedtiny_entry *entries;
    int32_t no_weight; /**< 0. */
    int32_t count;
    const uint8_t *cells;
    int32_t multiplier; /**< Plain: doubled. */
    int32_t addend;     /**< Plain: the output's offset. */
    int32_t high_step;
    int32_t output_step;
    int8_t *output;
    int32_t row_tile_bytes; /**< Cells of the tiles of one row. */
    int32_t rows;
    int32_t next_row_cells;  /**< From the end of a row's tiles to the next row. */
    int32_t next_row_output;
    int32_t right_shift; /**< Not of a plain sweep. */
} dsp_sweep;

/** For plain requantizers. */
void fedtiny_planar_sweep_dsp(const dsp_sweep *sweep);

/** output = ((h + (h >> 31) + addend) >> right_shift), h the rounded high half of the doubled sum
 *  times the multiplier: halves away from zero. */
void fedtiny_planar_sweep_dsp_shifted(const dsp_sweep *sweep);

/* Beyond, the offset times 2^shift would leave 32 bits. */
#define MAX_RIGHT_SHIFT 20

static bool is_shifted_right(const fedtiny_requantizer *to)
{
    return to->shift < 0 && to->shift >= -MAX_RIGHT_SHIFT;
}

/** The assembly covers the whole int8 range, and shifts that models of TensorFlow Lite have. */
static bool suits_dsp(const fedtiny_planar_sweep *sweep)
{
    const fedtiny_requantizer *const to = &sweep->to;
    return sweep->columns >= 4 && to->min == INT8_MIN && to->max == INT8_MAX &&
           (fedtiny_requantizer_is_plain(to) || is_shifted_right(to));
}

/** `tiles` tiles of every row, the first one at column `first`. */
static void sweep_tiles_dsp(const fedtiny_planar_sweep *sweep, int32_t first, int32_t tiles)
{
    const int32_t cell_bytes = (int32_t)sizeof(int32_t);
    const int64_t start = start_of(sweep);
    const fedtiny_requantizer *const to = &sweep->to;
    const int32_t right = -to->shift;
    const dsp_sweep arguments = {
        .start_low = (int32_t)(uint32_t)((uint64_t)start & UINT32_MAX),
        .start_high = (int32_t)(start >> 32),
        .entries = sweep->entries,
        .no_weight = 0,
        .count = sweep->count,
        .cells = sweep->cells + first * cell_bytes,
        .multiplier = right == 0 ? 2 * to->multiplier : to->multiplier,
        .addend = right == 0 ? to->offset : to->offset * (1 << right) + (1 << (right - 1)),
        .high_step = sweep->high_step,
        .output_step = sweep->output_step,
        .output = sweep->output + first * sweep->output_step,
        .row_tile_bytes = 4 * tiles * cell_bytes,
        .rows = sweep->rows,
        .next_row_cells = sweep->row_step - 4 * tiles * cell_bytes,
        .next_row_output = sweep->output_row_step - 4 * tiles * sweep->output_step,
        .right_shift = right,
    };
    if (right == 0) {
        fedtiny_planar_sweep_dsp(&arguments);
    } else {
        fedtiny_planar_sweep_dsp_shifted(&arguments);
    }
}

/** Columns left over by the tiles of 4 are computed by a last tile that overlaps. */
static void sweep_dsp(const fedtiny_planar_sweep *sweep)
{
    sweep_tiles_dsp(sweep, 0, sweep->columns / 4);
    if (sweep->columns % 4 != 0) {
        sweep_tiles_dsp(sweep, sweep->columns - 4, 1);
    }
}

void fedtiny_planar_sweep_run(const fedtiny_planar_sweep *sweep)
{
    if (suits_dsp(sweep)) {
        sweep_dsp(sweep);
    } else {
        sweep_portable(sweep);
    }
}

#else

void fedtiny_planar_sweep_run(const fedtiny_planar_sweep *sweep)
{
    sweep_portable(sweep);
}

#endif /* __ARM_FEATURE_DSP */

#else

typedef int fedtiny_planar_sweep_is_for_cores_without_mve;

#endif /* !__ARM_FEATURE_MVE */
