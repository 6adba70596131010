/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_gather.h"

/** The scratch of one call, laid out. */
typedef struct {
    int32_t *tap_offset;
    fedtiny_entry *entries;
    int8_t *rows;
} scratch;

static scratch lay_out(void *buffer, const fedtiny_conv_job *job)
{
    uint8_t *const start = buffer;
    uint8_t *const entries = start + fedtiny_taps_bytes(&job->shape);
    const scratch parts = {(int32_t *)(void *)start, (fedtiny_entry *)(void *)entries,
                           (int8_t *)(entries + fedtiny_entries_bytes(job->weights))};
    return parts;
}

static fedtiny_input_map map_taps(const fedtiny_conv_job *job, int32_t *tap_offset)
{
    const fedtiny_conv_shape *const shape = &job->shape;
    const int32_t row_bytes = fedtiny_direct_row_bytes(shape);
    int32_t tap = 0;
    for (int32_t y = 0; y < shape->kernel_h; y++) {
        for (int32_t x = 0; x < shape->kernel_w; x++) {
            tap_offset[tap++] = y * row_bytes + x * shape->in_c;
        }
    }
    const int32_t channels = job->depth_multiplier == 0 ? shape->in_c : 1;
    const fedtiny_input_map map = {tap_offset, tap, channels, 1, 0};
    return map;
}

/** Everything about a sweep but its channel. */
static fedtiny_direct_sweep sweep_of_band(const fedtiny_conv_job *job,
                                          const fedtiny_direct_band *band,
                                          const fedtiny_entry *entries, int32_t first,
                                          int32_t rows)
{
    const fedtiny_conv_shape *const shape = &job->shape;
    const int32_t row_step = shape->out_w * shape->out_c;
    const fedtiny_direct_sweep sweep = {
        .entries = entries,
        .input = band->first_row,
        .input_step = shape->stride_w * shape->in_c,
        .input_row_step = shape->stride_h * band->row_bytes,
        .output = job->output + first * row_step,
        .output_step = shape->out_c,
        .output_row_step = row_step,
        .rows = rows,
        .columns = shape->out_w,
        .to = {0, 0, job->output_offset, job->activation.min, job->activation.max},
    };
    return sweep;
}

static bool run_band(const fedtiny_conv_job *job, fedtiny_entry_list *list,
                     fedtiny_direct_sweep *sweep)
{
#if defined(__ARM_FEATURE_MVE)
    if (fedtiny_gather_suits(job)) {
        return fedtiny_gather_run_band(job, list, sweep);
    }
#endif
    const int8_t *const input = sweep->input;
    fedtiny_stream stream = fedtiny_stream_of(job->weights);
    for (int32_t channel = 0; channel < job->shape.out_c; channel++) {
        if (!job->weights->decode(&stream, job->weights->entries[channel], list)) {
            return false;
        }
        sweep->count = list->count;
        sweep->bias = fedtiny_folded_bias(job->bias, channel, job->input_offset, list->weight_sum);
        sweep->to = fedtiny_channel_requantizer(job->quant, channel, job->output_offset,
                                                &job->activation);
        sweep->input = input + fedtiny_first_input_channel(job, channel);
        fedtiny_direct_sweep_run(sweep);
        sweep->output++;
    }
    return true;
}

arm_cmsis_nn_status fedtiny_direct_run(const fedtiny_conv_job *job, const cmsis_nn_context *ctx)
{
    if (!fedtiny_conv_job_is_complete(job, ctx)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const fedtiny_conv_shape *const shape = &job->shape;
    const int32_t band_rows = fedtiny_direct_band_rows(shape, job->weights, ctx->size);
    if (band_rows == 0) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    const scratch parts = lay_out(ctx->buf, job);
    fedtiny_entry_list list = {map_taps(job, parts.tap_offset), parts.entries,
                               job->weights->max_nonzeros, 0, 0, NULL, 0};
    const int8_t padding_value = (int8_t)-job->input_offset;

    for (int32_t first = 0; first < shape->out_h; first += band_rows) {
        const int32_t rows = fedtiny_min(band_rows, shape->out_h - first);
        const fedtiny_direct_band band =
            fedtiny_direct_band_load(shape, job->input, padding_value, first, rows, parts.rows);
        fedtiny_direct_sweep sweep = sweep_of_band(job, &band, parts.entries, first, rows);
        if (!run_band(job, &list, &sweep)) {
            return ARM_CMSIS_NN_ARG_ERROR;
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}
