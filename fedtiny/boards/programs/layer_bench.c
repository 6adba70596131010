/* SPDX-License-Identifier: Apache-2.0
 *
 * One convolution by every kernel that can compute it, on the same weights: for each a line
 *
 *     KERNEL STATUS MISMATCHES TICKS SCRATCH_BYTES STREAM_OR_WEIGHT_BYTES
 *
 * The case is read from layer.bin, which fedtiny.boards.layer_bench writes.
 */
#include <stddef.h>

#include "board.h"
#include "fedtiny_nn.h"

#define CASE_BYTES (12u * 1024u * 1024u)
#define SCRATCH_BYTES (512u * 1024u)
#define OUTPUT_BYTES (256u * 1024u)
#define MAGIC INT32_C(0x4C425446) /* "FTBL" */

/** Head of layer.bin; offsets are from its start. */
typedef struct {
    int32_t magic;
    cmsis_nn_dims input, filter, output;
    cmsis_nn_conv_params params;
    int32_t scratch_bytes; /**< Lent to the sparse kernels. */
    int32_t format, max_nonzeros, stream_bytes;
    int32_t input_at, weights_at, entries_at, stream_at, bias_at, multiplier_at, shift_at;
    int32_t expected_at;
} layer_case;

BOARD_EXTERNAL static union {
    layer_case head;
    uint8_t bytes[CASE_BYTES];
} file;
BOARD_EXTERNAL static uint8_t scratch[SCRATCH_BYTES];
BOARD_EXTERNAL static int8_t output[OUTPUT_BYTES];

/** By their numbers in the case. */
static fedtiny_decoder *const decoders[6] = {fedtiny_decode_d8,     fedtiny_decode_n4,
                                             fedtiny_decode_bitmap, fedtiny_decode_dense,
                                             fedtiny_decode_d4,     fedtiny_decode_p4};

static const cmsis_nn_dims no_bias_dims = {1, 1, 1, 1};

static cmsis_nn_per_channel_quant_params quantization(void)
{
    const cmsis_nn_per_channel_quant_params quant = {
        (int32_t *)(void *)(file.bytes + file.head.multiplier_at),
        (int32_t *)(void *)(file.bytes + file.head.shift_at)};
    return quant;
}

static fedtiny_sparse_weights sparse_weights(void)
{
    const fedtiny_sparse_weights weights = {
        decoders[file.head.format % 6], NULL,
        (const uint16_t *)(const void *)(file.bytes + file.head.entries_at),
        (uint16_t)file.head.max_nonzeros, file.bytes + file.head.stream_at,
        (uint32_t)file.head.stream_bytes};
    return weights;
}

/** The scratch a kernel gets: what it asks for, or the case's limit if that is less. */
static int32_t lent(int32_t whole_map_bytes)
{
    const int32_t limit = file.head.scratch_bytes;
    return limit != 0 && limit < whole_map_bytes ? limit : whole_map_bytes;
}

static arm_cmsis_nn_status run_dense(int32_t *scratch_bytes)
{
    const layer_case *const c = &file.head;
    const cmsis_nn_per_channel_quant_params quant = quantization();
    *scratch_bytes =
        FEDTINY_DENSE(convolve_wrapper_s8_get_buffer_size)(&c->params, &c->input, &c->filter, &c->output);
    const cmsis_nn_context ctx = {scratch, *scratch_bytes};
    return FEDTINY_DENSE(convolve_wrapper_s8)(&ctx, &c->params, &quant, &c->input,
                                   (const int8_t *)(file.bytes + c->input_at), &c->filter,
                                   (const int8_t *)(file.bytes + c->weights_at), &no_bias_dims,
                                   (const int32_t *)(const void *)(file.bytes + c->bias_at),
                                   &c->output, output);
}

static arm_cmsis_nn_status run_direct(int32_t *scratch_bytes)
{
    const layer_case *const c = &file.head;
    const cmsis_nn_per_channel_quant_params quant = quantization();
    const fedtiny_sparse_weights weights = sparse_weights();
    *scratch_bytes = lent(fedtiny_sparse_conv_s8_get_buffer_size(&c->params, &c->input, &c->filter,
                                                                 &weights, &c->output, 0));
    const cmsis_nn_context ctx = {scratch, *scratch_bytes};
    return fedtiny_sparse_conv_s8(&ctx, &c->params, &quant, &c->input,
                                  (const int8_t *)(file.bytes + c->input_at), &c->filter, &weights,
                                  &no_bias_dims,
                                  (const int32_t *)(const void *)(file.bytes + c->bias_at),
                                  &c->output, output);
}

static arm_cmsis_nn_status run_planar(int32_t *scratch_bytes)
{
    const layer_case *const c = &file.head;
    const cmsis_nn_per_channel_quant_params quant = quantization();
    const fedtiny_sparse_weights weights = sparse_weights();
    *scratch_bytes = lent(fedtiny_sparse_conv_planar_s8_get_buffer_size(
        &c->params, &c->input, &c->filter, &weights, &c->output, 0));
    const cmsis_nn_context ctx = {scratch, *scratch_bytes};
    return fedtiny_sparse_conv_planar_s8(&ctx, &c->params, &quant, &c->input,
                                         (const int8_t *)(file.bytes + c->input_at), &c->filter,
                                         &weights, &no_bias_dims,
                                         (const int32_t *)(const void *)(file.bytes + c->bias_at),
                                         &c->output, output);
}

static uint32_t count_mismatches(void)
{
    const cmsis_nn_dims *const dims = &file.head.output;
    const int32_t count = dims->h * dims->w * dims->c;
    const int8_t *const expected = (const int8_t *)(file.bytes + file.head.expected_at);
    uint32_t mismatches = 0;
    for (int32_t i = 0; i < count; i++) {
        mismatches += output[i] != expected[i] ? 1u : 0u;
        output[i] = 0x55;
    }
    return mismatches;
}

static void print_field(uint32_t value)
{
    board_print(" ");
    board_print_u32(value);
}

static void measure(const char *name, arm_cmsis_nn_status (*kernel)(int32_t *))
{
    int32_t scratch_bytes = 0;
    const uint64_t start = board_ticks();
    const arm_cmsis_nn_status status = kernel(&scratch_bytes);
    const uint64_t ticks = board_ticks() - start;
    board_print(name);
    print_field((uint32_t)-(int32_t)status);
    print_field(count_mismatches());
    print_field((uint32_t)ticks);
    print_field((uint32_t)scratch_bytes);
    board_print("\n");
}

int main(void)
{
    if (board_read_file("layer.bin", file.bytes, CASE_BYTES) < 0 || file.head.magic != MAGIC) {
        board_print("layer.bin is missing or not a layer case\n");
        return 2;
    }
    measure("dense", run_dense);
    measure("direct", run_direct);
    measure("planar", run_planar);
    board_print("stack");
    print_field(board_stack_used());
    board_print("\n");
    return 0;
}
