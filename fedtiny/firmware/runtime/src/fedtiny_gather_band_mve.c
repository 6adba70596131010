/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_gather.h"

#if defined(__ARM_FEATURE_MVE)

/* Outputs whose sums are taken together. */
#define GROUP 4

/* Channels of so many blocks keep them in registers. */
#define FEW 3

/** Arguments of the assembly sweeps, which read them by position. */
typedef struct {
    const fedtiny_block *blocks;
    int32_t further_blocks; /**< Beyond the first. */
    const int8_t *input;
    int32_t input_step; /**< Bytes between the inputs of neighbouring outputs. */
    int32_t group_step;
    int32_t group_output_step;
    int8_t *output;
    int32_t output_step;
    int32_t groups;    /**< A row. */
    int32_t rows_left; /**< Counted down. */
    int32_t next_row_input; /**< From the end of a row's groups to the next row. */
    int32_t next_row_output;
    int32_t bias;
    int32_t multiplier;
    int32_t offset;
    int32_t min;
    int32_t max;
    int32_t right_shift;
    int32_t rows; /**< Of the band; not read by assembly. */
} fedtiny_gather_arguments;

typedef void sweep_function(fedtiny_gather_arguments *arguments);

/** Any number of blocks. */
sweep_function fedtiny_gather_sweep;
sweep_function fedtiny_gather_sweep_shifted;

/** So many blocks, without a shift, onto the whole range of int8. */
sweep_function fedtiny_gather_sweep_1;
sweep_function fedtiny_gather_sweep_2;
sweep_function fedtiny_gather_sweep_3;

bool fedtiny_gather_suits(const fedtiny_conv_job *job)
{
    const fedtiny_conv_shape *const shape = &job->shape;
    const int32_t last_cell = (shape->kernel_h - 1) * fedtiny_direct_row_bytes(shape) +
                              shape->kernel_w * shape->in_c - 1;
    const int32_t last_output = (GROUP - 1) * shape->stride_w * shape->in_c;
    if (shape->out_w < GROUP || last_cell > UINT16_MAX - last_output) {
        return false;
    }
    for (int32_t i = 0; job->quant->shift != NULL && i < shape->out_c; i++) {
        if (job->quant->shift[i] > 0) {
            return false;
        }
    }
    return true;
}

/** `groups` groups of every row of a band, the first one at column `first`; but for the channel. */
static fedtiny_gather_arguments arguments_for(const fedtiny_direct_sweep *sweep, int32_t first,
                                              int32_t groups)
{
    fedtiny_gather_arguments arguments = {
        .input = sweep->input + first * sweep->input_step,
        .input_step = sweep->input_step,
        .group_step = GROUP * sweep->input_step,
        .group_output_step = GROUP * sweep->output_step,
        .output = sweep->output + first * sweep->output_step,
        .output_step = sweep->output_step,
        .groups = groups,
        .rows = sweep->rows,
        .offset = sweep->to.offset,
        .min = sweep->to.min,
        .max = sweep->to.max,
    };
    if (groups == 1) { /* a column of groups is swept as if it were a row */
        arguments.groups = sweep->rows;
        arguments.rows = 1;
        arguments.group_step = sweep->input_row_step;
        arguments.group_output_step = sweep->output_row_step;
    }
    arguments.next_row_input = sweep->input_row_step - groups * arguments.group_step;
    arguments.next_row_output = sweep->output_row_step - groups * arguments.group_output_step;
    return arguments;
}

static void set_channel(fedtiny_gather_arguments *arguments, const fedtiny_conv_job *job,
                        const fedtiny_entry_list *list, int32_t channel)
{
    arguments->blocks = fedtiny_blocks_of(list);
    arguments->further_blocks = list->blocks - 1;
    arguments->rows_left = arguments->rows;
    arguments->bias =
        fedtiny_folded_bias(job->bias, channel, job->input_offset, list->weight_sum);
    arguments->multiplier = job->quant->multiplier[channel];
    arguments->right_shift = job->quant->shift == NULL ? 0 : -job->quant->shift[channel];
}

static sweep_function *function_for(const fedtiny_gather_arguments *arguments)
{
    static sweep_function *const few[FEW] = {fedtiny_gather_sweep_1, fedtiny_gather_sweep_2,
                                             fedtiny_gather_sweep_3};
    if (arguments->right_shift != 0) {
        return fedtiny_gather_sweep_shifted;
    }
    const bool whole_range = arguments->min == INT8_MIN && arguments->max == INT8_MAX;
    return whole_range && arguments->further_blocks < FEW ? few[arguments->further_blocks]
                                                          : fedtiny_gather_sweep;
}

bool fedtiny_gather_run_band(const fedtiny_conv_job *job, fedtiny_entry_list *list,
                             const fedtiny_direct_sweep *sweep)
{
    const int32_t groups = sweep->columns / GROUP;
    /* Columns left over are computed by a last group that overlaps. */
    const int32_t parts = sweep->columns % GROUP == 0 ? 1 : 2;
    fedtiny_gather_arguments part[2] = {
        arguments_for(sweep, 0, groups), arguments_for(sweep, sweep->columns - GROUP, 1)};
    const fedtiny_gather_rows rows = fedtiny_gather_rows_of(&job->shape);
    fedtiny_stream stream = fedtiny_stream_of(job->weights);
    int32_t last_input = 0;
    list->rows = job->depth_multiplier == 0 ? &rows : NULL;
    for (int32_t channel = 0; channel < job->shape.out_c; channel++) {
        if (!fedtiny_gather_decode(job->weights, &stream, channel, list)) {
            return false;
        }
        const int32_t input = fedtiny_first_input_channel(job, channel);
        for (int32_t i = 0; i < parts; i++) {
            set_channel(&part[i], job, list, channel);
            part[i].input += input - last_input;
            function_for(&part[i])(&part[i]);
            part[i].output++;
        }
        last_input = input;
    }
    list->rows = NULL; /* they end here */
    return true;
}

#else

typedef int fedtiny_gather_band_mve_is_for_other_cores;

#endif
