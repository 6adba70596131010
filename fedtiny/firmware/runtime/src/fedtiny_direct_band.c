/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fedtiny_nn_internal.h"

#if defined(__ARM_FEATURE_MVE)

/** memcpy by vectors: newlib's takes more than an instruction for a byte. */
static void copy(int8_t *to, const int8_t *from, size_t count)
{
    __asm volatile("wlstp.8 lr, %[count], 1f\n"
                   ".p2align 2\n"
                   "2: vldrb.u8 q0, [%[from]], #16\n"
                   "vstrb.u8 q0, [%[to]], #16\n"
                   "letp lr, 2b\n"
                   "1:\n"
                   : [to] "+l"(to), [from] "+l"(from)
                   : [count] "r"(count)
                   : "q0", "lr", "memory");
}

static void fill(int8_t *to, int8_t value, size_t count)
{
    __asm volatile("vdup.8 q0, %[value]\n"
                   "wlstp.8 lr, %[count], 1f\n"
                   ".p2align 2\n"
                   "2: vstrb.u8 q0, [%[to]], #16\n"
                   "letp lr, 2b\n"
                   "1:\n"
                   : [to] "+l"(to)
                   : [count] "r"(count), [value] "r"(value)
                   : "q0", "lr", "memory");
}

#else

static void copy(int8_t *to, const int8_t *from, size_t count)
{
    memcpy(to, from, count);
}

static void fill(int8_t *to, int8_t value, size_t count)
{
    memset(to, value, count);
}

#endif

static bool is_padded(const fedtiny_conv_shape *shape)
{
    return fedtiny_bottom(shape) != 0 || fedtiny_right(shape) != 0;
}

int32_t fedtiny_direct_row_bytes(const fedtiny_conv_shape *shape)
{
    return (shape->in_w + shape->pad_w + fedtiny_right(shape)) * shape->in_c;
}

static int32_t fixed_bytes(const fedtiny_conv_shape *shape, const fedtiny_sparse_weights *weights)
{
    return fedtiny_taps_bytes(shape) + fedtiny_entries_bytes(weights);
}

int32_t fedtiny_direct_buffer_size(const fedtiny_conv_shape *shape,
                                   const fedtiny_sparse_weights *weights, int32_t band_rows)
{
    const bool whole = band_rows <= 0 || band_rows > shape->out_h;
    const int32_t rows = whole ? shape->out_h : band_rows;
    const int32_t band =
        is_padded(shape) ? fedtiny_band_height(shape, rows) * fedtiny_direct_row_bytes(shape) : 0;
    return fedtiny_round_up_8(fixed_bytes(shape, weights) + band);
}

int32_t fedtiny_direct_band_rows(const fedtiny_conv_shape *shape,
                                 const fedtiny_sparse_weights *weights, int32_t size)
{
    const int32_t left = size - fixed_bytes(shape, weights);
    if (!is_padded(shape)) {
        return left >= 0 ? shape->out_h : 0;
    }
    const int32_t input_rows = left / fedtiny_direct_row_bytes(shape);
    if (left < 0 || input_rows < shape->kernel_h) {
        return 0;
    }
    return fedtiny_min(shape->out_h, (input_rows - shape->kernel_h) / shape->stride_h + 1);
}

static void copy_row(const fedtiny_conv_shape *shape, const int8_t *row, int8_t padding_value,
                     int8_t *to)
{
    const size_t margin = (size_t)(shape->pad_w * shape->in_c);
    const size_t inside = (size_t)(shape->in_w * shape->in_c);
    fill(to, padding_value, margin);
    copy(to + margin, row, inside);
    fill(to + margin + inside, padding_value, (size_t)(fedtiny_right(shape) * shape->in_c));
}

fedtiny_direct_band fedtiny_direct_band_load(const fedtiny_conv_shape *shape, const int8_t *input,
                                             int8_t padding_value, int32_t first, int32_t rows,
                                             int8_t *buffer)
{
    const int32_t row_bytes = fedtiny_direct_row_bytes(shape);
    const int32_t top = first * shape->stride_h - shape->pad_h;
    fedtiny_direct_band band = {buffer, row_bytes};
    if (!is_padded(shape)) {
        band.first_row = input + top * row_bytes;
        return band;
    }
    const int32_t height = fedtiny_band_height(shape, rows);
    for (int32_t i = 0; i < height; i++) {
        const int32_t y = top + i;
        int8_t *const to = buffer + i * row_bytes;
        if (y >= 0 && y < shape->in_h) {
            copy_row(shape, input + y * shape->in_w * shape->in_c, padding_value, to);
        } else {
            fill(to, padding_value, (size_t)row_bytes);
        }
    }
    return band;
}
