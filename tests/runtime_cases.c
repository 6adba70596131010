/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the sparse kernels on cases from a file, every array in its own allocation of exactly its
 * size, so that a sanitizer sees any access beyond it. Writes status and output of each case.
 *
 *     runtime_cases CASES RESULTS
 */
#include <stdio.h>
#include <stdlib.h>

#include "fedtiny_nn.h"

/** Which function a case calls. */
enum { DIRECT, PLANAR, DEPTHWISE, LINEAR };

/** Fixed part of a case, all int32. */
typedef struct {
    int32_t function;
    cmsis_nn_dims input, filter, output;
    int32_t stride[2], padding[2];
    int32_t input_offset, output_offset, ch_mult;
    int32_t format, max_nonzeros, stream_bytes, scratch_bytes;
} header;

/* By the numbers of the formats. */
static fedtiny_decoder *const decoders[6] = {fedtiny_decode_d8,     fedtiny_decode_n4,
                                             fedtiny_decode_bitmap, fedtiny_decode_dense,
                                             fedtiny_decode_d4,     fedtiny_decode_p4};
static fedtiny_dot_decoder *const dot_decoders[6] = {
    fedtiny_dot_d8,    fedtiny_dot_n4, fedtiny_dot_bitmap,
    fedtiny_dot_dense, fedtiny_dot_d4, fedtiny_dot_p4};

static void *read_exactly(FILE *file, size_t size)
{
    void *const memory = malloc(size > 0 ? size : 1);
    if (memory == NULL || fread(memory, 1, size, file) != size) {
        fprintf(stderr, "the case file is cut off\n");
        exit(2);
    }
    return memory;
}

static int32_t volume(const cmsis_nn_dims *dims)
{
    return dims->n * dims->h * dims->w * dims->c;
}

static int32_t run(const header *h, const fedtiny_sparse_weights *weights, const int8_t *input,
                   const int32_t *bias, int32_t *multiplier, int8_t *output)
{
    void *const scratch = malloc(h->scratch_bytes > 0 ? (size_t)h->scratch_bytes : 1);
    const cmsis_nn_context ctx = {scratch, h->scratch_bytes};
    const cmsis_nn_per_channel_quant_params quant = {multiplier, NULL};
    const cmsis_nn_dims bias_dims = {1, 1, 1, h->output.c};
    const cmsis_nn_tile stride = {h->stride[1], h->stride[0]};
    const cmsis_nn_tile padding = {h->padding[1], h->padding[0]};
    const cmsis_nn_tile dilation = {1, 1};
    const cmsis_nn_activation clamp = {-128, 127};
    const cmsis_nn_conv_params conv = {h->input_offset, h->output_offset, stride,
                                       padding,         dilation,         clamp};
    const cmsis_nn_dw_conv_params depthwise = {
        h->input_offset, h->output_offset, h->ch_mult, stride, padding, dilation, clamp};
    const cmsis_nn_fc_params linear = {h->input_offset, 0, h->output_offset, clamp};
    arm_cmsis_nn_status status = ARM_CMSIS_NN_FAILURE;
    switch (h->function) {
    case DIRECT:
        status = fedtiny_sparse_conv_s8(&ctx, &conv, &quant, &h->input, input, &h->filter, weights,
                                        &bias_dims, bias, &h->output, output);
        break;
    case PLANAR:
        status =
            fedtiny_sparse_conv_planar_s8(&ctx, &conv, &quant, &h->input, input, &h->filter,
                                          weights, &bias_dims, bias, &h->output, output);
        break;
    case DEPTHWISE:
        status = fedtiny_sparse_depthwise_conv_s8(&ctx, &depthwise, &quant, &h->input, input,
                                                  &h->filter, weights, &bias_dims, bias,
                                                  &h->output, output);
        break;
    case LINEAR:
        status = fedtiny_sparse_fully_connected_s8(&ctx, &linear, &quant, &h->input, input,
                                                   &h->filter, weights, &bias_dims, bias,
                                                   &h->output, output);
        break;
    default:
        break;
    }
    free(scratch);
    return (int32_t)status;
}

static void run_case(FILE *cases, FILE *results, const header *h)
{
    const size_t channels = (size_t)h->output.c;
    int8_t *const input = read_exactly(cases, (size_t)volume(&h->input));
    uint16_t *const entries = read_exactly(cases, channels * sizeof *entries);
    uint8_t *const stream = read_exactly(cases, (size_t)h->stream_bytes);
    int32_t *const bias = read_exactly(cases, channels * sizeof *bias);
    int32_t *const multiplier = read_exactly(cases, channels * sizeof *multiplier);
    const size_t output_bytes = (size_t)volume(&h->output);
    int8_t *const output = calloc(output_bytes, 1);
    const fedtiny_sparse_weights weights = {decoders[h->format % 6], dot_decoders[h->format % 6], entries,
                                            (uint16_t)h->max_nonzeros, stream,
                                            (uint32_t)h->stream_bytes};
    const int32_t status = run(h, &weights, input, bias, multiplier, output);
    fwrite(&status, sizeof status, 1, results);
    fwrite(output, 1, output_bytes, results);
    free(input);
    free(entries);
    free(stream);
    free(bias);
    free(multiplier);
    free(output);
}

int main(int argc, char **argv)
{
    FILE *const cases = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *const results = argc == 3 ? fopen(argv[2], "wb") : NULL;
    if (cases == NULL || results == NULL) {
        fprintf(stderr, "usage: runtime_cases CASES RESULTS\n");
        return 2;
    }
    header h;
    while (fread(&h, sizeof h, 1, cases) == 1) {
        run_case(cases, results, &h);
    }
    fclose(cases);
    return fclose(results) == 0 ? 0 : 2;
}
