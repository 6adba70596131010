/* SPDX-License-Identifier: Apache-2.0
 *
 * Dense layers without CMSIS-NN: src/dense/ holds portable versions of the functions that a
 * generated model calls, with the same arguments and results, under names of their own: CMSIS-NN or
 * another library that brings it (TensorFlow Lite Micro) may be in the same program.
 *
 * Arguments and their ranges are those of CMSIS-NN's documentation; what is stated here is what
 * the portable versions add or leave out.
 */
#ifndef FEDTINY_NN_DENSE_H
#define FEDTINY_NN_DENSE_H

#include "fedtiny_nn_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Convolution; input NHWC [N, H, W, C_IN], filter OHWI [C_OUT, KH, KW, C_IN], bias int32[C_OUT]
 * or null, output NHWC [N, OH, OW, C_OUT]. Any stride, padding and dilation; C_IN of the filter
 * must equal that of the input (no groups). A fully-connected layer with one scale for each
 * output is a 1x1 convolution of a 1x1 map.
 */
arm_cmsis_nn_status fedtiny_dense_convolve_wrapper_s8(const cmsis_nn_context *ctx,
                                                      const cmsis_nn_conv_params *conv_params,
                                                      const cmsis_nn_per_channel_quant_params *quant_params,
                                                      const cmsis_nn_dims *input_dims,
                                                      const int8_t *input_data,
                                                      const cmsis_nn_dims *filter_dims,
                                                      const int8_t *filter_data,
                                                      const cmsis_nn_dims *bias_dims,
                                                      const int32_t *bias_data,
                                                      const cmsis_nn_dims *output_dims,
                                                      int8_t *output_data);

/** Scratch bytes of fedtiny_dense_convolve_wrapper_s8: 0 in the portable version. */
int32_t fedtiny_dense_convolve_wrapper_s8_get_buffer_size(const cmsis_nn_conv_params *conv_params,
                                                          const cmsis_nn_dims *input_dims,
                                                          const cmsis_nn_dims *filter_dims,
                                                          const cmsis_nn_dims *output_dims);

/**
 * Depthwise convolution; input NHWC [N, H, W, C_IN], filter [1, KH, KW, C_OUT], output NHWC
 * [N, OH, OW, C_OUT] with C_OUT = ch_mult * C_IN.
 */
arm_cmsis_nn_status fedtiny_dense_depthwise_conv_wrapper_s8(const cmsis_nn_context *ctx,
                                                            const cmsis_nn_dw_conv_params *dw_conv_params,
                                                            const cmsis_nn_per_channel_quant_params *quant_params,
                                                            const cmsis_nn_dims *input_dims,
                                                            const int8_t *input_data,
                                                            const cmsis_nn_dims *filter_dims,
                                                            const int8_t *filter_data,
                                                            const cmsis_nn_dims *bias_dims,
                                                            const int32_t *bias_data,
                                                            const cmsis_nn_dims *output_dims,
                                                            int8_t *output_data);

/** Scratch bytes of fedtiny_dense_depthwise_conv_wrapper_s8: 0 in the portable version. */
int32_t fedtiny_dense_depthwise_conv_wrapper_s8_get_buffer_size(const cmsis_nn_dw_conv_params *dw_conv_params,
                                                                const cmsis_nn_dims *input_dims,
                                                                const cmsis_nn_dims *filter_dims,
                                                                const cmsis_nn_dims *output_dims);

/**
 * Fully-connected layer with one scale; input [N, FEATURES], filter [OUT, FEATURES] with
 * filter_dims = [FEATURES, 1, 1, OUT], output [N, OUT].
 */
arm_cmsis_nn_status fedtiny_dense_fully_connected_s8(const cmsis_nn_context *ctx,
                                                     const cmsis_nn_fc_params *fc_params,
                                                     const cmsis_nn_per_tensor_quant_params *quant_params,
                                                     const cmsis_nn_dims *input_dims,
                                                     const int8_t *input_data,
                                                     const cmsis_nn_dims *filter_dims,
                                                     const int8_t *filter_data,
                                                     const cmsis_nn_dims *bias_dims,
                                                     const int32_t *bias_data,
                                                     const cmsis_nn_dims *output_dims,
                                                     int8_t *output_data);

/** Scratch bytes of fedtiny_dense_fully_connected_s8: 0 in the portable version. */
int32_t fedtiny_dense_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *filter_dims);

/**
 * Average pooling of one NHWC sample; cells outside the map do not count; rounds to nearest, ties
 * away from zero. ARM_CMSIS_NN_ARG_ERROR if a window lies outside the map.
 */
arm_cmsis_nn_status fedtiny_dense_avgpool_s8(const cmsis_nn_context *ctx,
                                             const cmsis_nn_pool_params *pool_params,
                                             const cmsis_nn_dims *input_dims,
                                             const int8_t *input_data,
                                             const cmsis_nn_dims *filter_dims,
                                             const cmsis_nn_dims *output_dims,
                                             int8_t *output_data);

/** Scratch bytes of fedtiny_dense_avgpool_s8: 0 in the portable version. */
int32_t fedtiny_dense_avgpool_s8_get_buffer_size(const int dim_dst_width, const int ch_src);

/** Maximum pooling of one NHWC sample; cells outside the map do not count. */
arm_cmsis_nn_status fedtiny_dense_max_pool_s8(const cmsis_nn_context *ctx,
                                              const cmsis_nn_pool_params *pool_params,
                                              const cmsis_nn_dims *input_dims,
                                              const int8_t *input_data,
                                              const cmsis_nn_dims *filter_dims,
                                              const cmsis_nn_dims *output_dims,
                                              int8_t *output_data);

/**
 * Element-wise sum of two tensors of block_size values. The output may be one of the inputs.
 *
 *     output = clamp(requantize(r1 + r2, out_mult, out_shift) + out_offset)
 *     r_i    = requantize((input_i + input_i_offset) << left_shift, input_i_mult, input_i_shift)
 *
 * left_shift must leave (input + offset) << left_shift within 32 bits and be at least 16, because
 * CMSIS-NN's DSP version wraps negative sums at 16 bits before shifting (20 is usual); the
 * multipliers' shifts are in [-31, 0].
 */
arm_cmsis_nn_status fedtiny_dense_elementwise_add_s8(const int8_t *input_1_vect,
                                                     const int8_t *input_2_vect,
                                                     const int32_t input_1_offset,
                                                     const int32_t input_1_mult,
                                                     const int32_t input_1_shift,
                                                     const int32_t input_2_offset,
                                                     const int32_t input_2_mult,
                                                     const int32_t input_2_shift,
                                                     const int32_t left_shift,
                                                     int8_t *output,
                                                     const int32_t out_offset,
                                                     const int32_t out_mult,
                                                     const int32_t out_shift,
                                                     const int32_t out_activation_min,
                                                     const int32_t out_activation_max,
                                                     const int32_t block_size);

#ifdef __cplusplus
}
#endif

#endif /* FEDTINY_NN_DENSE_H */
