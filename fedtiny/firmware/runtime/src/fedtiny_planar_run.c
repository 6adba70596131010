/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_planar.h"

/** One call: the layer, its layout and its scratch. */
typedef struct {
    const fedtiny_conv_job *job;
    fedtiny_planar_layout layout;
    fedtiny_entry_list list;
    uint8_t *rows;
    int32_t band_rows; /**< Rows swept at once. */
} planar_call;

static int32_t fixed_bytes(const fedtiny_conv_job *job)
{
    return fedtiny_taps_bytes(&job->shape) + fedtiny_entries_bytes(job->weights);
}

/** The most rows whose band fits in `size` bytes; 0 if not even one does. */
static int32_t band_rows_in(const fedtiny_conv_job *job, const fedtiny_planar_layout *layout,
                            int32_t size)
{
    const fedtiny_conv_shape *const shape = &job->shape;
    const int32_t left = size - fixed_bytes(job);
    const int32_t packed_rows = left / layout->row_bytes;
    if (left < 0 || packed_rows < shape->kernel_h) {
        return 0;
    }
    return fedtiny_min(layout->rows, (packed_rows - shape->kernel_h) / shape->stride_h + 1);
}

static void map_taps(const fedtiny_conv_shape *shape, const fedtiny_planar_layout *layout,
                     int32_t *tap_offset)
{
    for (int32_t y = 0; y < shape->kernel_h; y++) {
        for (int32_t x = 0; x < shape->kernel_w; x++) {
            const int32_t cell =
                (x % shape->stride_w) * layout->phase_cells + x / shape->stride_w;
            *tap_offset++ = y * layout->row_bytes + cell * layout->cell_bytes;
        }
    }
}

static planar_call prepare(const fedtiny_conv_job *job, const cmsis_nn_context *ctx,
                           const fedtiny_planar_layout *layout, int32_t band_rows)
{
    const fedtiny_conv_shape *const shape = &job->shape;
    uint8_t *const start = ctx->buf;
    int32_t *const tap_offset = (int32_t *)(void *)start;
    uint8_t *const entries = start + fedtiny_taps_bytes(shape);
    map_taps(shape, layout, tap_offset);
    const planar_call call = {
        .job = job,
        .layout = *layout,
        .list = {{tap_offset, shape->kernel_h * shape->kernel_w,
                  job->depth_multiplier == 0 ? shape->in_c : 1,
                  layout->plane_cells * layout->cell_bytes, layout->weight_shift},
                 (fedtiny_entry *)(void *)entries,
                 job->weights->max_nonzeros,
                 0,
                 0,
                 NULL,
                 0},
        .rows = start + fixed_bytes(job),
        .band_rows = band_rows,
    };
    return call;
}

/** Pack the rows under swept rows [first, first + rows), keeping those of the band before. */
static void load_band(const planar_call *call, int32_t first, int32_t rows)
{
    const fedtiny_conv_job *const job = call->job;
    const fedtiny_conv_shape *const shape = &job->shape;
    const int32_t row_bytes = call->layout.row_bytes;
    const int32_t height = fedtiny_band_height(shape, rows);
    const int32_t advance = call->band_rows * shape->stride_h;
    int32_t kept = 0;
    if (first > 0) {
        kept = fedtiny_min(fedtiny_max(shape->kernel_h - shape->stride_h, 0), height);
        memmove(call->rows, call->rows + advance * row_bytes, (size_t)(kept * row_bytes));
    }
    for (int32_t i = kept; i < height; i++) {
        fedtiny_planar_pack_row(shape, &call->layout, job->input, (int8_t)-job->input_offset,
                                first * shape->stride_h - shape->pad_h + i,
                                call->rows + i * row_bytes);
    }
}

/** Everything about a sweep but its channel. */
static fedtiny_planar_sweep sweep_of_band(const planar_call *call, int32_t first, int32_t rows)
{
    const fedtiny_conv_shape *const shape = &call->job->shape;
    const fedtiny_planar_layout *const layout = &call->layout;
    const int32_t row_step = shape->out_w * shape->out_c;
    const fedtiny_planar_sweep sweep = {
        .entries = call->list.entries,
        .cells = call->rows,
        .row_step = shape->stride_h * layout->row_bytes,
        .output = call->job->output + first * row_step,
        .output_step = shape->out_c,
        .output_row_step = row_step,
        .high_step = layout->pair_rows * row_step + layout->pair_columns * shape->out_c,
        .rows = rows,
        .columns = layout->columns,
    };
    return sweep;
}

static void end_entries(const fedtiny_entry_list *list)
{
    const fedtiny_entry end = {-1, 0};
    list->entries[list->count] = end;
}

static bool run_band(planar_call *call, fedtiny_planar_sweep *sweep)
{
    const fedtiny_conv_job *const job = call->job;
    const uint8_t *const cells = sweep->cells;
    fedtiny_entry_list *const list = &call->list;
    fedtiny_stream stream = fedtiny_stream_of(job->weights);
    for (int32_t channel = 0; channel < job->shape.out_c; channel++) {
        if (!job->weights->decode(&stream, job->weights->entries[channel], list)) {
            return false;
        }
        end_entries(list);
        sweep->count = list->count;
        sweep->weight_sum = list->weight_sum;
        sweep->bias = fedtiny_folded_bias(job->bias, channel, job->input_offset, list->weight_sum);
        sweep->to = fedtiny_channel_requantizer(job->quant, channel, job->output_offset,
                                                &job->activation);
        sweep->cells =
            cells + fedtiny_first_input_channel(job, channel) * list->map.channel_step;
        fedtiny_planar_sweep_run(sweep);
        sweep->output++;
    }
    return true;
}

arm_cmsis_nn_status fedtiny_planar_run(const fedtiny_conv_job *job, const cmsis_nn_context *ctx)
{
    if (!fedtiny_conv_job_is_complete(job, ctx)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    fedtiny_conv_job used = *job;
    if (fedtiny_conv_shape_is_pointwise(&job->shape) &&
        ctx->size >= fedtiny_planar_buffer_size(&job->shape, job->weights, 0)) {
        used.shape = fedtiny_conv_shape_flattened(&job->shape);
    }
    const fedtiny_planar_layout layout = fedtiny_planar_layout_of(&used.shape);
    const int32_t band_rows = band_rows_in(&used, &layout, ctx->size);
    if (band_rows == 0) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    planar_call call = prepare(&used, ctx, &layout, band_rows);
    for (int32_t first = 0; first < layout.rows; first += band_rows) {
        const int32_t rows = fedtiny_min(band_rows, layout.rows - first);
        fedtiny_planar_sweep sweep = sweep_of_band(&call, first, rows);
        load_band(&call, first, rows);
        if (!run_band(&call, &sweep)) {
            return ARM_CMSIS_NN_ARG_ERROR;
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
