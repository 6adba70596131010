/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels share. Not part of the interface.
 */
#ifndef FEDTINY_NN_INTERNAL_H
#define FEDTINY_NN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fedtiny_nn.h"

#if defined(__GNUC__)
#define FEDTINY_INLINE static inline __attribute__((always_inline))
#define FEDTINY_NOINLINE __attribute__((noinline)) /* a loop that needs all registers for itself */
#define FEDTINY_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#else
#define FEDTINY_INLINE static inline
#define FEDTINY_NOINLINE
#define FEDTINY_UNLIKELY(condition) (condition)
#endif

FEDTINY_INLINE bool fedtiny_is_aligned(const void *pointer, size_t bytes)
{
    return pointer != NULL && (uintptr_t)pointer % bytes == 0;
}

/* ---- requantization ------------------------------------------------------------------------ */

/** From an int32 accumulator to an int8 output. */
typedef struct {
    int32_t multiplier;
    int32_t shift;
    int32_t offset;
    int32_t min;
    int32_t max;
} fedtiny_requantizer;

FEDTINY_INLINE int32_t fedtiny_clamp(int32_t value, int32_t low, int32_t high)
{
    const int32_t raised = value < low ? low : value;
    return raised > high ? high : raised;
}

FEDTINY_INLINE int32_t fedtiny_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

FEDTINY_INLINE int32_t fedtiny_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/** round(value * multiplier / 2^31), ties up. */
FEDTINY_INLINE int32_t fedtiny_multiply_high(int32_t value, int32_t multiplier)
{
    const int64_t product = (int64_t)value * multiplier;
    return (int32_t)((product + (INT64_C(1) << 30)) >> 31);
}

/** round(value / 2^exponent), ties away from zero; exponent in [0, 31]. */
FEDTINY_INLINE int32_t fedtiny_divide_by_power_of_two(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1u);
    const int32_t remainder = value & mask;
    const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> exponent) + (remainder > threshold ? 1 : 0);
}

/** value * multiplier * 2^(shift - 31) with the two roundings of CMSIS-NN's arm_nn_requantize. */
FEDTINY_INLINE int32_t fedtiny_requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    if (shift == 0) {
        return fedtiny_multiply_high(value, multiplier);
    }
    const int32_t left = fedtiny_max(shift, 0);
    const int32_t shifted = (int32_t)((uint32_t)value << left);
    return fedtiny_divide_by_power_of_two(fedtiny_multiply_high(shifted, multiplier), left - shift);
}

/** Whether shift is 0 and the multiplier below 1/2, which is what the exporter emits. */
FEDTINY_INLINE bool fedtiny_requantizer_is_plain(const fedtiny_requantizer *to)
{
    return to->shift == 0 && (uint32_t)to->multiplier < (UINT32_C(1) << 30);
}

/** The same result for a plain requantizer, in one long multiply-accumulate. */
FEDTINY_INLINE int8_t fedtiny_requantize_plain_s8(int32_t accumulator,
                                                  const fedtiny_requantizer *to)
{
    const int64_t start = (int64_t)to->offset * (INT64_C(1) << 32) + (INT64_C(1) << 31);
    const int64_t scaled = (int64_t)accumulator * (2 * to->multiplier) + start;
    return (int8_t)fedtiny_clamp((int32_t)(scaled >> 32), to->min, to->max);
}

/** The same as fedtiny_requantize_s8 for a shift of -`right` < 0; what does not change in a loop is
 *  computed outside of it. */
FEDTINY_INLINE int8_t fedtiny_requantize_right_s8(int32_t accumulator, int32_t multiplier,
                                                  int32_t right, int32_t offset, int32_t min,
                                                  int32_t max)
{
    const int32_t high = fedtiny_multiply_high(accumulator, multiplier);
    const int32_t last = (high - (high < 0)) >> (right - 1); /* its lowest bit is to be rounded */
    return (int8_t)fedtiny_clamp((last >> 1) + (last & 1) + offset, min, max);
}

FEDTINY_INLINE int8_t fedtiny_requantize_s8(int32_t accumulator, const fedtiny_requantizer *to)
{
    const int32_t scaled = fedtiny_requantize(accumulator, to->multiplier, to->shift);
    return (int8_t)fedtiny_clamp(scaled + to->offset, to->min, to->max);
}

/** The requantizer of one output channel; a null shift pointer means shift 0. */
FEDTINY_INLINE fedtiny_requantizer fedtiny_channel_requantizer(
    const cmsis_nn_per_channel_quant_params *quant, int32_t channel, int32_t offset,
    const cmsis_nn_activation *activation)
{
    const fedtiny_requantizer to = {
        quant->multiplier[channel], quant->shift == NULL ? 0 : quant->shift[channel], offset,
        activation->min, activation->max};
    return to;
}

/* ---- decoding of weight streams ------------------------------------------------------------ */

/* A decoder reads only inside the stream, writes only inside the list and returns false if the
 * stream does not describe weights of the map that fit in the list; a fused one may not let its
 * position pass the features. */

/** The weights of a byte that holds two, in [-8, 7]. */
FEDTINY_INLINE int32_t fedtiny_low_nibble(int32_t two)
{
    return (int32_t)((uint32_t)two << 28) >> 28;
}

FEDTINY_INLINE int32_t fedtiny_high_nibble(int32_t two)
{
    return (int32_t)((uint32_t)two << 24) >> 28;
}

/** One non-zero weight, ready for a sweep. */
typedef struct {
    int32_t offset; /**< Bytes from the cell of the output's first tap to this weight's input. */
    int32_t weight; /**< Times 2^weight_shift of the map. */
} fedtiny_entry;

/** Where the input of weight (tap, channel) lies, in bytes. */
typedef struct {
    const int32_t *tap_offset; /**< Of channel 0, one for each tap. */
    int32_t taps;
    int32_t channels;     /**< Weights a tap. */
    int32_t channel_step; /**< Bytes between the inputs of two channels of a tap. */
    int32_t weight_shift;
} fedtiny_input_map;

/** The part of a weight stream that was not read yet. */
typedef struct fedtiny_stream {
    const uint8_t *next;
    const uint8_t *end;
} fedtiny_stream;

/** One output channel's weights, decoded. */
typedef struct fedtiny_entry_list {
    fedtiny_input_map map;
    fedtiny_entry *entries;
    int32_t capacity;
    int32_t count;
    int32_t weight_sum; /**< Not shifted. */
    const struct fedtiny_gather_rows *rows; /**< With MVE, if blocks may be written instead. */
    int32_t blocks; /**< Written in the place of entries: see fedtiny_gather.h. */
} fedtiny_entry_list;

/** A position among an output channel's weights; a local variable, so that it stays in registers. */
typedef struct {
    const fedtiny_input_map *map;
    int32_t position;
    int32_t tap_end; /**< The first position after the tap's. */
    int32_t tap;
    int32_t start; /**< Where position 0 would read, were it in this tap. */
} fedtiny_cursor;

FEDTINY_INLINE fedtiny_cursor fedtiny_cursor_at_first(const fedtiny_input_map *map)
{
    const fedtiny_cursor at = {map, 0, map->channels, 0, map->tap_offset[0]};
    return at;
}

/** Move `distance` weights forward; false if that is beyond the last one. */
FEDTINY_INLINE bool fedtiny_cursor_skip(fedtiny_cursor *at, int32_t distance)
{
    at->position += distance;
    while (FEDTINY_UNLIKELY(at->position >= at->tap_end)) {
        if (++at->tap >= at->map->taps) {
            return false;
        }
        at->start = at->map->tap_offset[at->tap] - at->tap_end * at->map->channel_step;
        at->tap_end += at->map->channels;
    }
    return true;
}

/** A list that is being written, likewise. */
typedef struct {
    fedtiny_cursor at;
    fedtiny_entry *next;
    const fedtiny_entry *limit;
    int32_t channel_step;
    int32_t weight_shift;
    int32_t weight_sum;
} fedtiny_entry_writer;

/** Start over, with room for at most `stored` weights. */
FEDTINY_INLINE fedtiny_entry_writer fedtiny_entry_writer_start(const fedtiny_entry_list *list,
                                                               int32_t stored)
{
    const int32_t room = fedtiny_min(list->capacity, stored);
    const fedtiny_entry_writer writer = {
        fedtiny_cursor_at_first(&list->map), list->entries, list->entries + room,
        list->map.channel_step, list->map.weight_shift, 0};
    return writer;
}

/** Bytes of a list; two more than decoded end it for unrolled sweeps. Four are a block of the
 *  gathering sweep. */
FEDTINY_INLINE int32_t fedtiny_entries_bytes_for(int32_t nonzeros)
{
    return (fedtiny_max(nonzeros, 2) + 2) * (int32_t)sizeof(fedtiny_entry);
}

/** Move `distance` weights forward; false if that is beyond the last one. */
FEDTINY_INLINE bool fedtiny_entry_writer_skip(fedtiny_entry_writer *writer, int32_t distance)
{
    return fedtiny_cursor_skip(&writer->at, distance);
}

FEDTINY_INLINE bool fedtiny_entry_writer_is_full(const fedtiny_entry_writer *writer)
{
    return writer->next == writer->limit;
}

/** Store the weight at the current position of a list that is not full. */
FEDTINY_INLINE void fedtiny_entry_writer_put(fedtiny_entry_writer *writer, int32_t weight)
{
    writer->next->offset = writer->at.start + writer->at.position * writer->channel_step;
    writer->next->weight = weight * (INT32_C(1) << writer->weight_shift);
    writer->weight_sum += weight;
    writer->next++;
}

/** Note in the list what was written to it. */
FEDTINY_INLINE void fedtiny_entry_writer_finish(const fedtiny_entry_writer *writer,
                                                fedtiny_entry_list *list)
{
    list->count = (int32_t)(writer->next - list->entries);
    list->weight_sum = writer->weight_sum;
}

/** Sums over one output channel: of input * weight and of the weights. */
typedef struct fedtiny_dot {
    int32_t product;
    int32_t weight_sum;
} fedtiny_dot;

FEDTINY_INLINE fedtiny_stream fedtiny_stream_of(const fedtiny_sparse_weights *weights)
{
    const fedtiny_stream stream = {weights->stream, weights->stream + weights->stream_bytes};
    return stream;
}

/** The accumulator of an output whose every input is 0: padded cells hold -input_offset. */
FEDTINY_INLINE int32_t fedtiny_folded_bias(const int32_t *bias, int32_t channel,
                                           int32_t input_offset, int32_t weight_sum)
{
    return (bias == NULL ? 0 : bias[channel]) + input_offset * weight_sum;
}

/* ---- shape of a convolution ---------------------------------------------------------------- */

/** The numbers of a convolution, checked. */
typedef struct {
    int32_t in_h, in_w, in_c;
    int32_t out_h, out_w, out_c;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t pad_h, pad_w; /**< Above and on the left. */
} fedtiny_conv_shape;

/** Cells beyond the end of an axis that the last window reads; not above 0 if it reads none. */
FEDTINY_INLINE int32_t fedtiny_overhang(int32_t in, int32_t out, int32_t kernel, int32_t stride,
                                        int32_t pad)
{
    return (out - 1) * stride + kernel - in - pad;
}

/** Margin below the map and on its right: as on the other side, or what is read. */
FEDTINY_INLINE int32_t fedtiny_bottom(const fedtiny_conv_shape *shape)
{
    return fedtiny_max(shape->pad_h, fedtiny_overhang(shape->in_h, shape->out_h, shape->kernel_h,
                                                      shape->stride_h, shape->pad_h));
}

FEDTINY_INLINE int32_t fedtiny_right(const fedtiny_conv_shape *shape)
{
    return fedtiny_max(shape->pad_w, fedtiny_overhang(shape->in_w, shape->out_w, shape->kernel_w,
                                                      shape->stride_w, shape->pad_w));
}

/** Fill *shape; false if a dimension is out of range or the map is too large for 32 bits. */
bool fedtiny_conv_shape_init(fedtiny_conv_shape *shape, const cmsis_nn_dims *input_dims,
                             const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims,
                             const cmsis_nn_tile *stride, const cmsis_nn_tile *padding,
                             const cmsis_nn_tile *dilation);

/** A 1x1 convolution with stride 1 sees its map as one long row. */
bool fedtiny_conv_shape_is_pointwise(const fedtiny_conv_shape *shape);
fedtiny_conv_shape fedtiny_conv_shape_flattened(const fedtiny_conv_shape *shape);

FEDTINY_INLINE int32_t fedtiny_round_up_8(int32_t bytes)
{
    return (bytes + 7) & ~7;
}

/** Bytes of the entry list. */
FEDTINY_INLINE int32_t fedtiny_entries_bytes(const fedtiny_sparse_weights *weights)
{
    return fedtiny_entries_bytes_for(weights->max_nonzeros);
}

/** Bytes of the tap table. */
FEDTINY_INLINE int32_t fedtiny_taps_bytes(const fedtiny_conv_shape *shape)
{
    return fedtiny_round_up_8(shape->kernel_h * shape->kernel_w * (int32_t)sizeof(int32_t));
}

/** Input rows under `rows` output rows. */
FEDTINY_INLINE int32_t fedtiny_band_height(const fedtiny_conv_shape *shape, int32_t rows)
{
    return (rows - 1) * shape->stride_h + shape->kernel_h;
}

/* ---- one layer ----------------------------------------------------------------------------- */

/** A convolution with everything it needs but scratch. */
typedef struct {
    fedtiny_conv_shape shape;
    int32_t depth_multiplier; /**< Output channels for each input channel, or 0 if not depthwise. */
    const fedtiny_sparse_weights *weights;
    const cmsis_nn_per_channel_quant_params *quant;
    cmsis_nn_activation activation;
    const int32_t *bias;
    int32_t input_offset;
    int32_t output_offset;
    const int8_t *input;
    int8_t *output;
} fedtiny_conv_job;

/** Fill the part of *job that dimensions and parameters give; false if one is out of range. */
bool fedtiny_conv_job_init(fedtiny_conv_job *job, const cmsis_nn_conv_params *conv_params,
                           const cmsis_nn_dims *input_dims, const cmsis_nn_dims *filter_dims,
                           const cmsis_nn_dims *output_dims);
bool fedtiny_depthwise_job_init(fedtiny_conv_job *job, const cmsis_nn_dw_conv_params *conv_params,
                                const cmsis_nn_dims *input_dims, const cmsis_nn_dims *filter_dims,
                                const cmsis_nn_dims *output_dims);

/** Whether every pointer of a call is there and its scratch aligned: asked before the first write. */
bool fedtiny_conv_job_is_complete(const fedtiny_conv_job *job, const cmsis_nn_context *ctx);

/** The input channel where a depthwise filter starts; 0 for a filter that reads all of them. */
FEDTINY_INLINE int32_t fedtiny_first_input_channel(const fedtiny_conv_job *job, int32_t channel)
{
    return job->depth_multiplier == 0 ? 0 : channel / job->depth_multiplier;
}

/** Run a convolution with the direct or the planar kernel in bands that fit in the scratch. */
arm_cmsis_nn_status fedtiny_direct_run(const fedtiny_conv_job *job, const cmsis_nn_context *ctx);
arm_cmsis_nn_status fedtiny_planar_run(const fedtiny_conv_job *job, const cmsis_nn_context *ctx);

/* ---- direct kernels: int8 rows with their padding ------------------------------------------ */

/** Rows of the input in HWC order, from which the direct kernels read. */
typedef struct {
    const int8_t *first_row; /**< Of the band's first output row, padding included. */
    int32_t row_bytes;
} fedtiny_direct_band;

/** Scratch of a direct kernel: the tap table, the entries, then the padded rows. */
int32_t fedtiny_direct_buffer_size(const fedtiny_conv_shape *shape,
                                   const fedtiny_sparse_weights *weights, int32_t band_rows);

/** The most output rows whose band fits in `size` bytes; 0 if not even one does. */
int32_t fedtiny_direct_band_rows(const fedtiny_conv_shape *shape,
                                 const fedtiny_sparse_weights *weights, int32_t size);

/** Bytes of one row as the direct kernels read it. */
int32_t fedtiny_direct_row_bytes(const fedtiny_conv_shape *shape);

/** The rows under output rows [first, first + rows): the input itself if nothing is padded,
 *  otherwise a copy in `buffer` with the padding filled in. */
fedtiny_direct_band fedtiny_direct_band_load(const fedtiny_conv_shape *shape, const int8_t *input,
                                             int8_t padding_value, int32_t first, int32_t rows,
                                             int8_t *buffer);

/** One output channel over a band. */
typedef struct {
    const fedtiny_entry *entries;
    int32_t count;
    int32_t bias; /**< Folded. */
    fedtiny_requantizer to;
    const int8_t *input;
    int32_t input_step; /**< Bytes between the inputs of neighbouring outputs. */
    int32_t input_row_step;
    int8_t *output;
    int32_t output_step; /**< Bytes between neighbouring outputs. */
    int32_t output_row_step;
    int32_t rows;
    int32_t columns;
} fedtiny_direct_sweep;

void fedtiny_direct_sweep_run(const fedtiny_direct_sweep *sweep);

#endif /* FEDTINY_NN_INTERNAL_H */
