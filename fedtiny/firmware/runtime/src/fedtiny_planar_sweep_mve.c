/* SPDX-License-Identifier: Apache-2.0
 *
 * fedtiny_planar_sweep_run for cores with MVE (Cortex-M55), where a cell is one int8 pixel.
 *
 * A tile is 16 outputs: four vectors of four int32 accumulators, to which all entries are
 * applied in a low-overhead loop. The vectors lie in one row, or in two or four rows of a narrow
 * map. Tiles at the right and lower edge overlap their neighbours instead of being cut.
 */
#include "fedtiny_mve.h"
#include "fedtiny_planar.h"

#if defined(__ARM_FEATURE_MVE)

typedef struct {
    int32x4_t vector[4];
} accumulators;

/* Multiply-accumulate one vector of cells at an address. */
#define MLA(vector, address)                                                                      \
    "vldrb.s32 q4, [" address "]\n"                                                               \
    "vmla.s32 %q[" vector "], q4, %[weight]\n"

/* The loop over all entries; `body` applies one whose cells start at `at`. */
#define FOR_EACH_ENTRY(body, row_step)                                                            \
    __asm volatile("wls lr, %[count], 1f\n"                                                       \
                   ".p2align 2\n"                                                                 \
                   "2: ldrd %[at], %[weight], [%[entry]], #8\n"                                   \
                   "add %[at], %[cells]\n" body "le lr, 2b\n"                                     \
                   "1:\n"                                                                         \
                   : [a] "+w"(a), [b] "+w"(b), [c] "+w"(c), [d] "+w"(d), [entry] "+r"(entry),     \
                     [at] "=&l"(at), [weight] "=&r"(weight)                                       \
                   : [count] "r"(sweep->count), [cells] "r"(cells), [step] "r"(row_step)          \
                   : "q4", "lr", "memory")

FEDTINY_INLINE accumulators accumulate(const fedtiny_planar_sweep *sweep, const uint8_t *cells,
                                       const int32_t tile_rows)
{
    int32x4_t a = vdupq_n_s32(sweep->bias);
    int32x4_t b = a;
    int32x4_t c = a;
    int32x4_t d = a;
    const fedtiny_entry *entry = sweep->entries;
    int32_t at;
    int32_t weight;
    if (tile_rows == 1) {
        FOR_EACH_ENTRY(MLA("a", "%[at]") MLA("b", "%[at], #4") MLA("c", "%[at], #8")
                           MLA("d", "%[at], #12"),
                       0);
    } else if (tile_rows == 2) {
        FOR_EACH_ENTRY(MLA("a", "%[at]") MLA("b", "%[at], #4") "add %[at], %[step]\n"
                           MLA("c", "%[at]") MLA("d", "%[at], #4"),
                       sweep->row_step);
    } else {
        FOR_EACH_ENTRY(MLA("a", "%[at]") "add %[at], %[step]\n" MLA("b", "%[at]")
                       "add %[at], %[step]\n" MLA("c", "%[at]") "add %[at], %[step]\n"
                           MLA("d", "%[at]"),
                       sweep->row_step);
    }
    const accumulators sums = {{a, b, c, d}};
    return sums;
}

FEDTINY_INLINE int32x4_t requantize(int32x4_t sums, const fedtiny_requantizer *to)
{
    const int32_t shift = to->shift;
    const int32x4_t raised = shift > 0 ? vshlq_r_s32(sums, shift) : sums;
    const int32x4_t high = vqrdmulhq_n_s32(raised, to->multiplier);
    const int32x4_t scaled = shift < 0 ? fedtiny_mve_divide(high, -shift) : high;
    return fedtiny_mve_clamp(vaddq_n_s32(scaled, to->offset), to->min, to->max);
}

/** All tiles of `tile_rows` rows and 16 / `tile_rows` columns. */
FEDTINY_INLINE void run_tiles(const fedtiny_planar_sweep *sweep, const int32_t tile_rows)
{
    const int32_t tile_columns = 16 / tile_rows;
    const int32_t vectors_a_row = 4 / tile_rows;
    const int32_t last_row = sweep->rows - tile_rows;
    const int32_t last_column = sweep->columns - tile_columns;
    const int32_t output_step = sweep->output_step;
    const uint32x4_t steps = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)output_step);
    for (int32_t y = 0; y < sweep->rows; y += tile_rows) {
        const int32_t row = fedtiny_min(y, last_row);
        const uint8_t *const cells = sweep->cells + row * sweep->row_step;
        int8_t *const output = sweep->output + row * sweep->output_row_step;
        for (int32_t x = 0; x < sweep->columns; x += tile_columns) {
            const int32_t column = fedtiny_min(x, last_column);
            const accumulators sums = accumulate(sweep, cells + column, tile_rows);
            int8_t *const first = output + column * output_step;
            for (int32_t i = 0; i < 4; i++) {
                int8_t *const at = first + (i / vectors_a_row) * sweep->output_row_step +
                                   (i % vectors_a_row) * 4 * output_step;
                vstrbq_scatter_offset_s32(at, steps, requantize(sums.vector[i], &sweep->to));
            }
        }
    }
}

/** Maps that no tile fits over. */
static void run_scalar(const fedtiny_planar_sweep *sweep)
{
    for (int32_t row = 0; row < sweep->rows; row++) {
        for (int32_t column = 0; column < sweep->columns; column++) {
            const int8_t *const cells =
                (const int8_t *)sweep->cells + row * sweep->row_step + column;
            int32_t sum = sweep->bias;
            for (int32_t i = 0; i < sweep->count; i++) {
                sum += cells[sweep->entries[i].offset] * sweep->entries[i].weight;
            }
            sweep->output[row * sweep->output_row_step + column * sweep->output_step] =
                fedtiny_requantize_s8(sum, &sweep->to);
        }
    }
}

void fedtiny_planar_sweep_run(const fedtiny_planar_sweep *sweep)
{
    if (sweep->columns < 4) {
        run_scalar(sweep);
    } else if (sweep->columns >= 16) {
        run_tiles(sweep, 1);
    } else if (sweep->columns >= 8 && sweep->rows >= 2) {
        run_tiles(sweep, 2);
    } else if (sweep->rows >= 4) {
        run_tiles(sweep, 4);
    } else {
        run_scalar(sweep);
    }
}

#else

typedef int fedtiny_planar_sweep_mve_is_for_other_cores;

#endif
