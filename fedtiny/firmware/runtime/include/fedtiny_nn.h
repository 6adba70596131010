/* SPDX-License-Identifier: Apache-2.0
 *
 * FedTiny NN: int8 kernels whose weights are stored and computed sparsely, in the call shape of
 * CMSIS-NN. Activations are NHWC, weights OHWI, quantization that of TensorFlow Lite:
 *
 *     output = clamp(requantize(sum((input + input_offset) * weight) + bias) + output_offset)
 *
 * No function allocates, recurses, has state or needs more scratch than its _get_buffer_size.
 * Every function returns ARM_CMSIS_NN_ARG_ERROR, and leaves the output unspecified, if the scratch
 * is too small, a dimension is out of range or the weight stream is corrupt.
 *
 * Results are the same on every core and equal those of CMSIS-NN's dense kernels on the same
 * weights (default, double-rounding build; with all shifts 0 in all of its builds).
 */
#ifndef FEDTINY_NN_H
#define FEDTINY_NN_H

#include "fedtiny_nn_types.h"

/** A dense layer's function by CMSIS-NN's name for it without arm_: Arm's if FEDTINY_USE_CMSIS_NN
 *  says that it is linked, else the portable one. */
#if defined(FEDTINY_USE_CMSIS_NN)
#define FEDTINY_DENSE(name) arm_##name
#else
#include "fedtiny_nn_dense.h"
#define FEDTINY_DENSE(name) fedtiny_dense_##name
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* How the non-zero weights of a layer are stored in flash: one decoder for each format, which a
 * fedtiny_sparse_weights names. The stream is the concatenation of the output channels' streams;
 * inside a channel weights are in OHWI order, index (ky * kernel_w + kx) * channels + c. */

/** D8: pairs of bytes (u8 distance to the previous index, s8 weight); the first distance counts
 *  from index 0. A pair with weight 0 bridges a distance above 255. */
fedtiny_decoder fedtiny_decode_d8;
fedtiny_dot_decoder fedtiny_dot_d8;

/** N4: (entries + 1) / 2 bytes of 4-bit gaps, low nibble first; then the weights, s8. A gap is the
 *  number of zeros skipped before the next weight; gap 15 skips 15 zeros and has no weight. */
fedtiny_decoder fedtiny_decode_n4;
fedtiny_dot_decoder fedtiny_dot_n4;

/** Bitmap: (weights a channel + 7) / 8 bytes, least significant bit first, a set bit for each
 *  non-zero weight; then the non-zero weights, s8. */
fedtiny_decoder fedtiny_decode_bitmap;
fedtiny_dot_decoder fedtiny_dot_bitmap;

/** Dense: every weight, s8, zeros included. */
fedtiny_decoder fedtiny_decode_dense;
fedtiny_dot_decoder fedtiny_dot_dense;

/** D4: `entries` bytes, the distances of D8; then (entries + 1) / 2 bytes with its weights, s4, low
 *  nibble first. */
fedtiny_decoder fedtiny_decode_d4;
fedtiny_dot_decoder fedtiny_dot_d4;

/** P4: bytes, the low nibble a gap g, the high one a weight, s4: g zeros are skipped before it.
 *  Weight 0 is none and skips 16 * (g + 1) zeros. */
fedtiny_decoder fedtiny_decode_p4;
fedtiny_dot_decoder fedtiny_dot_p4;

/**
 * Sparse convolution, direct: 8 outputs of a row at a time are kept in registers and each
 * non-zero weight is applied to them straight from the HWC input. Any core, any weights.
 *
 * @param ctx           Scratch; see fedtiny_sparse_conv_s8_get_buffer_size. The kernel works in
 *                      bands of as many output rows as fit in ctx->size.
 * @param conv_params   Any stride >= 1 and padding >= 0; dilation must be 1. The padding is that
 *                      above and on the left; below and on the right there is as much as the
 *                      output's dimensions ask for, at most that or a window less one cell.
 * @param quant_params  One multiplier and shift for each output channel. A null shift pointer
 *                      means that all shifts are 0.
 * @param input_dims    [1, H, W, C_IN]
 * @param input         int8, NHWC
 * @param filter_dims   [C_OUT, KH, KW, C_IN]
 * @param weights       C_OUT channels of KH * KW * C_IN weights (at most 65535) each
 * @param bias_dims     [1, 1, 1, C_OUT]; not read
 * @param bias          int32, one for each output channel, or null for none
 * @param output_dims   [1, OH, OW, C_OUT]
 * @param output        int8, NHWC; must not overlap the input
 */
arm_cmsis_nn_status fedtiny_sparse_conv_s8(const cmsis_nn_context *ctx,
                                           const cmsis_nn_conv_params *conv_params,
                                           const cmsis_nn_per_channel_quant_params *quant_params,
                                           const cmsis_nn_dims *input_dims,
                                           const int8_t *input,
                                           const cmsis_nn_dims *filter_dims,
                                           const fedtiny_sparse_weights *weights,
                                           const cmsis_nn_dims *bias_dims,
                                           const int32_t *bias,
                                           const cmsis_nn_dims *output_dims,
                                           int8_t *output);

/**
 * Scratch bytes of fedtiny_sparse_conv_s8 (a multiple of 8).
 *
 * @param band_rows     Output rows computed at once, or 0 for the whole map, which is fastest.
 */
int32_t fedtiny_sparse_conv_s8_get_buffer_size(const cmsis_nn_conv_params *conv_params,
                                               const cmsis_nn_dims *input_dims,
                                               const cmsis_nn_dims *filter_dims,
                                               const fedtiny_sparse_weights *weights,
                                               const cmsis_nn_dims *output_dims,
                                               int32_t band_rows);

/**
 * Sparse convolution, planar: input rows are repacked once into planes of words that hold two
 * pixels, so that one long multiply-accumulate does two. The fastest kernel on cores with DSP
 * instructions (M4, M7, M33); on cores with MVE (M55) it sweeps int8 planes with vectors instead.
 *
 * Exact if, for every output channel,
 * 255 * max(sum of positive weights, sum of |negative weights|) + |bias| < 2^23:
 * check before choosing it (fedtiny.firmware.streams.planar_is_exact); the kernel does not.
 *
 * Arguments as for fedtiny_sparse_conv_s8.
 */
arm_cmsis_nn_status fedtiny_sparse_conv_planar_s8(const cmsis_nn_context *ctx,
                                                  const cmsis_nn_conv_params *conv_params,
                                                  const cmsis_nn_per_channel_quant_params *quant_params,
                                                  const cmsis_nn_dims *input_dims,
                                                  const int8_t *input,
                                                  const cmsis_nn_dims *filter_dims,
                                                  const fedtiny_sparse_weights *weights,
                                                  const cmsis_nn_dims *bias_dims,
                                                  const int32_t *bias,
                                                  const cmsis_nn_dims *output_dims,
                                                  int8_t *output);

/**
 * Scratch bytes of fedtiny_sparse_conv_planar_s8 (a multiple of 8).
 *
 * @param band_rows     Output rows computed at once, or 0 for the whole map, which is fastest.
 *                      Maps narrower than 8 are swept two rows at a time: their bands count
 *                      pairs of rows.
 */
int32_t fedtiny_sparse_conv_planar_s8_get_buffer_size(const cmsis_nn_conv_params *conv_params,
                                                      const cmsis_nn_dims *input_dims,
                                                      const cmsis_nn_dims *filter_dims,
                                                      const fedtiny_sparse_weights *weights,
                                                      const cmsis_nn_dims *output_dims,
                                                      int32_t band_rows);

/**
 * Sparse depthwise convolution, direct. Any core.
 *
 * @param ctx             Scratch; see fedtiny_sparse_depthwise_conv_s8_get_buffer_size
 * @param dw_conv_params  Any stride >= 1 and padding >= 0, as above; dilation must be 1;
 *                        ch_mult * C_IN == C_OUT
 * @param quant_params    As for fedtiny_sparse_conv_s8
 * @param input_dims      [1, H, W, C_IN]
 * @param input           int8, NHWC
 * @param filter_dims     [1, KH, KW, C_OUT]
 * @param weights         C_OUT channels of KH * KW weights each (a channel's taps together,
 *                        unlike the dense layout)
 * @param bias_dims       [1, 1, 1, C_OUT]; not read
 * @param bias            int32, one for each output channel, or null for none
 * @param output_dims     [1, OH, OW, C_OUT]
 * @param output          int8, NHWC; must not overlap the input
 */
arm_cmsis_nn_status fedtiny_sparse_depthwise_conv_s8(const cmsis_nn_context *ctx,
                                                     const cmsis_nn_dw_conv_params *dw_conv_params,
                                                     const cmsis_nn_per_channel_quant_params *quant_params,
                                                     const cmsis_nn_dims *input_dims,
                                                     const int8_t *input,
                                                     const cmsis_nn_dims *filter_dims,
                                                     const fedtiny_sparse_weights *weights,
                                                     const cmsis_nn_dims *bias_dims,
                                                     const int32_t *bias,
                                                     const cmsis_nn_dims *output_dims,
                                                     int8_t *output);

/** Scratch bytes of fedtiny_sparse_depthwise_conv_s8; band_rows as for fedtiny_sparse_conv_s8. */
int32_t fedtiny_sparse_depthwise_conv_s8_get_buffer_size(const cmsis_nn_dw_conv_params *dw_conv_params,
                                                         const cmsis_nn_dims *input_dims,
                                                         const cmsis_nn_dims *filter_dims,
                                                         const fedtiny_sparse_weights *weights,
                                                         const cmsis_nn_dims *output_dims,
                                                         int32_t band_rows);

/**
 * Sparse fully-connected layer with one scale for each output.
 *
 * @param ctx           Not used: no scratch is needed
 * @param fc_params     filter_offset is not read
 * @param quant_params  As for fedtiny_sparse_conv_s8
 * @param input_dims    [N, H, W, C]; a sample has FEATURES = H * W * C values
 * @param input         int8
 * @param filter_dims   [FEATURES, 1, 1, OUT], as in arm_fully_connected_s8
 * @param weights       OUT channels of FEATURES weights each
 * @param bias_dims     [1, 1, 1, OUT]; not read
 * @param bias          int32, one for each output, or null for none
 * @param output_dims   [N, 1, 1, OUT]
 * @param output        int8; must not overlap the input
 */
arm_cmsis_nn_status fedtiny_sparse_fully_connected_s8(const cmsis_nn_context *ctx,
                                                      const cmsis_nn_fc_params *fc_params,
                                                      const cmsis_nn_per_channel_quant_params *quant_params,
                                                      const cmsis_nn_dims *input_dims,
                                                      const int8_t *input,
                                                      const cmsis_nn_dims *filter_dims,
                                                      const fedtiny_sparse_weights *weights,
                                                      const cmsis_nn_dims *bias_dims,
                                                      const int32_t *bias,
                                                      const cmsis_nn_dims *output_dims,
                                                      int8_t *output);

/** Scratch bytes of fedtiny_sparse_fully_connected_s8: always 0. */
int32_t fedtiny_sparse_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *filter_dims);

/**
 * Element-wise sum, byte for byte that of arm_elementwise_add_s8, by a table for each operand.
 *
 * @param ctx  Scratch for the tables; see fedtiny_elementwise_add_s8_get_buffer_size
 *
 * The other arguments are those of arm_elementwise_add_s8 (CMSIS-NN's limits: left_shift at least
 * 16, the multipliers' shifts in [-31, 0]). With out_mult 2^15 and out_shift 0, and the sum of the
 * rescaled operands below 2^30, an element takes a third of the general case's instructions.
 * The output may be one of the inputs.
 */
arm_cmsis_nn_status fedtiny_elementwise_add_s8(const cmsis_nn_context *ctx,
                                               const int8_t *input_1_vect,
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

/** Scratch bytes of fedtiny_elementwise_add_s8. */
int32_t fedtiny_elementwise_add_s8_get_buffer_size(void);

/**
 * Mean of each channel over a map, rescaled: TensorFlow Lite's MEAN over height and width.
 *
 *     output = clamp(requantize(sum(input + input_offset)) + output_offset)
 *
 * @param input       int8, cells x channels, channels innermost; at most 2^23 cells
 * @param multiplier  input scale / (output scale * cells) * 2^(31 - shift)
 * @param output      int8, one for each channel; must not overlap the input
 */
arm_cmsis_nn_status fedtiny_mean_s8(const int8_t *input,
                                    int32_t cells,
                                    int32_t channels,
                                    int32_t input_offset,
                                    int32_t multiplier,
                                    int32_t shift,
                                    int32_t output_offset,
                                    int32_t activation_min,
                                    int32_t activation_max,
                                    int8_t *output);

/**
 * One of several maps whose channels are joined: copied, by a table if it has one.
 *
 *     output[cell * output_channels + c] = table[input[cell * channels + c] + 128]
 *
 * @param input            int8, cells x channels
 * @param table            int8, 256 values as for fedtiny_lookup_s8; null: codes stay as they are
 * @param output           Where the first of these channels goes in the first cell of the joined map
 * @param output_channels  Of the joined map; at least channels
 */
arm_cmsis_nn_status fedtiny_concat_s8(const int8_t *input,
                                      int32_t cells,
                                      int32_t channels,
                                      const int8_t *table,
                                      int8_t *output,
                                      int32_t output_channels);

/**
 * Element-wise function by table: hard-swish, or any other of one int8 value.
 *
 *     output[i] = table[input[i] + 128]
 *
 * The input's and the output's scale and zero point are in the table, whatever they are.
 *
 * @param input       int8, any layout, values in [-128, 127]
 * @param table       int8, 256 values: the output of each input code, that of -128 first
 * @param output      int8, same layout as the input; may be the input
 * @param block_size  Number of elements, >= 0
 */
arm_cmsis_nn_status fedtiny_lookup_s8(const int8_t *input,
                                      const int8_t *table,
                                      int8_t *output,
                                      int32_t block_size);

/**
 * Nearest-neighbour upsampling. A sequence is a map with H = OH = 1.
 *
 *     output[y][x][c] = input[y * H / OH][x * W / OW][c], both quotients rounded down
 *
 * TensorFlow Lite's RESIZE_NEAREST_NEIGHBOR (neither align_corners nor half_pixel_centers), where its
 * float32 quotients round down to the same cell; from 2 to 82 rows, for one, they do not.
 * Codes are copied: input and output share scale and zero point, whatever they are. No scratch.
 *
 * @param input_dims   [1, H, W, C], each at least 1, C at most FEDTINY_MAX_SIDE
 * @param input        int8, NHWC, values in [-128, 127]
 * @param output_dims  [1, OH, OW, C], H <= OH and W <= OW <= FEDTINY_MAX_SIDE, OH likewise; at most
 *                     FEDTINY_MAX_VALUES values
 * @param output       int8, NHWC; must not overlap the input
 */
arm_cmsis_nn_status fedtiny_upsample_nearest_s8(const cmsis_nn_dims *input_dims,
                                                const int8_t *input,
                                                const cmsis_nn_dims *output_dims,
                                                int8_t *output);

/**
 * Quantize raw sensor counts: one affine map for each channel, rounded to nearest (ties up).
 *
 *     output = clamp((input * multiplier[c] + offset[c] + 2^(shift - 1)) >> shift, -128, 127)
 *
 * @param input       int16, positions x channels, channels innermost
 * @param positions   Number of positions (H * W), >= 0
 * @param channels    Number of channels, >= 1
 * @param multiplier  int32, one for each channel
 * @param offset      int64, one for each channel, |offset| < 2^62: the zero point and the
 *                    subtracted mean, times 2^shift
 * @param shift       [1, 47]
 * @param output      int8, same layout as the input
 */
arm_cmsis_nn_status fedtiny_quantize_s16(const int16_t *input,
                                         int32_t positions,
                                         int32_t channels,
                                         const int32_t *multiplier,
                                         const int64_t *offset,
                                         int32_t shift,
                                         int8_t *output);

/** Index of the largest of count >= 1 values; the first one on a tie. */
int32_t fedtiny_argmax_s8(const int8_t *values, int32_t count);

/** CRC-32 (IEEE 802.3, as zlib's) of size bytes: the model's weights are checked with it at
 *  init. */
uint32_t fedtiny_crc32(const uint8_t *data, uint32_t size);

#ifdef __cplusplus
}
#endif

#endif /* FEDTINY_NN_H */
