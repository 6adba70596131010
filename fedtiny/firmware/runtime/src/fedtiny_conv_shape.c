/* SPDX-License-Identifier: Apache-2.0 */
#include "fedtiny_nn_internal.h"

static bool in_range(int32_t value, int32_t low)
{
    return value >= low && value <= FEDTINY_MAX_SIDE;
}

static bool dims_in_range(const cmsis_nn_dims *dims)
{
    return in_range(dims->h, 1) && in_range(dims->w, 1) && in_range(dims->c, 1);
}

static bool fits(int32_t height, int32_t width, int32_t channels)
{
    /* Below 2^52; a 64-bit division would cost cores without one 700 bytes of code. */
    return (int64_t)height * width * channels <= FEDTINY_MAX_VALUES;
}

/** Windows may overhang the far side by as much as the near one, or by all but one of their cells. */
static bool output_reads_inside(int32_t in, int32_t out, int32_t kernel, int32_t stride,
                                int32_t pad)
{
    const int64_t overhang = (int64_t)(out - 1) * stride + kernel - in - pad;
    return overhang <= fedtiny_max(pad, kernel - 1);
}

bool fedtiny_conv_shape_init(fedtiny_conv_shape *shape, const cmsis_nn_dims *input_dims,
                             const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims,
                             const cmsis_nn_tile *stride, const cmsis_nn_tile *padding,
                             const cmsis_nn_tile *dilation)
{
    const bool sides_in_range =
        dims_in_range(input_dims) && dims_in_range(output_dims) && dims_in_range(filter_dims) &&
        in_range(stride->h, 1) && in_range(stride->w, 1) && in_range(padding->h, 0) &&
        in_range(padding->w, 0) && dilation->h == 1 && dilation->w == 1 && input_dims->n == 1 &&
        output_dims->n == 1;
    if (!sides_in_range) {
        return false;
    }
    const fedtiny_conv_shape numbers = {
        input_dims->h,  input_dims->w,  input_dims->c,  output_dims->h, output_dims->w,
        output_dims->c, filter_dims->h, filter_dims->w, stride->h,      stride->w,
        padding->h,     padding->w};
    *shape = numbers;
    return fits(output_dims->h, output_dims->w, output_dims->c) &&
           (int64_t)filter_dims->h * filter_dims->w * filter_dims->c <= FEDTINY_MAX_SIDE &&
           output_reads_inside(input_dims->h, output_dims->h, filter_dims->h, stride->h,
                               padding->h) &&
           output_reads_inside(input_dims->w, output_dims->w, filter_dims->w, stride->w,
                               padding->w) &&
           fits(input_dims->h + padding->h + fedtiny_bottom(shape),
                input_dims->w + padding->w + fedtiny_right(shape), input_dims->c);
}

bool fedtiny_conv_shape_is_pointwise(const fedtiny_conv_shape *shape)
{
    return shape->kernel_h == 1 && shape->kernel_w == 1 && shape->stride_h == 1 &&
           shape->stride_w == 1 && shape->pad_h == 0 && shape->pad_w == 0 &&
           shape->in_h == shape->out_h && shape->in_w == shape->out_w;
}

fedtiny_conv_shape fedtiny_conv_shape_flattened(const fedtiny_conv_shape *shape)
{
    fedtiny_conv_shape row = *shape;
    row.in_w = shape->in_w * shape->in_h;
    row.in_h = 1;
    row.out_w = shape->out_w * shape->out_h;
    row.out_h = 1;
    return row;
}
