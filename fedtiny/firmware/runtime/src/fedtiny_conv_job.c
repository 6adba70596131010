/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

bool fedtiny_conv_job_init(fedtiny_conv_job *job, const cmsis_nn_conv_params *conv_params,
                           const cmsis_nn_dims *input_dims, const cmsis_nn_dims *filter_dims,
                           const cmsis_nn_dims *output_dims)
{
    job->depth_multiplier = 0;
    job->activation = conv_params->activation;
    job->input_offset = conv_params->input_offset;
    job->output_offset = conv_params->output_offset;
    return fedtiny_conv_shape_init(&job->shape, input_dims, filter_dims, output_dims,
                                   &conv_params->stride, &conv_params->padding,
                                   &conv_params->dilation) &&
           filter_dims->c == input_dims->c && filter_dims->n == output_dims->c;
}

bool fedtiny_depthwise_job_init(fedtiny_conv_job *job, const cmsis_nn_dw_conv_params *conv_params,
                                const cmsis_nn_dims *input_dims, const cmsis_nn_dims *filter_dims,
                                const cmsis_nn_dims *output_dims)
{
    job->depth_multiplier = conv_params->ch_mult;
    job->activation = conv_params->activation;
    job->input_offset = conv_params->input_offset;
    job->output_offset = conv_params->output_offset;
    return fedtiny_conv_shape_init(&job->shape, input_dims, filter_dims, output_dims,
                                   &conv_params->stride, &conv_params->padding,
                                   &conv_params->dilation) &&
           filter_dims->c == output_dims->c && conv_params->ch_mult >= 1 &&
           (int64_t)conv_params->ch_mult * input_dims->c == output_dims->c;
}

bool fedtiny_conv_job_is_complete(const fedtiny_conv_job *job, const cmsis_nn_context *ctx)
{
    const fedtiny_sparse_weights *const weights = job->weights;
    return ctx != NULL && fedtiny_is_aligned(ctx->buf, sizeof(int32_t)) && weights != NULL &&
           weights->decode != NULL && weights->entries != NULL && job->quant != NULL &&
           job->quant->multiplier != NULL && job->input != NULL && job->output != NULL;
}
