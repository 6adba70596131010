/* SPDX-License-Identifier: Apache-2.0
 *
 * Types shared by the sparse kernels and the generated model.
 *
 * With FEDTINY_USE_CMSIS_NN defined they are CMSIS-NN's own. Without it this header declares the
 * few structures our functions need under the same names with the same members in the same order,
 * so that one generated model.c compiles against either.
 */
#ifndef FEDTINY_NN_TYPES_H
#define FEDTINY_NN_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#if defined(FEDTINY_USE_CMSIS_NN)

#include "arm_nnfunctions.h"

#elif !defined(_ARM_NN_TYPES_H) && !defined(ARM_NN_TYPES_H) /* of CMSIS-NN, included before */

/** What every kernel returns. */
typedef enum {
    ARM_CMSIS_NN_SUCCESS = 0,        /**< The output is complete. */
    ARM_CMSIS_NN_ARG_ERROR = -1,     /**< An argument is outside its documented range. */
    ARM_CMSIS_NN_NO_IMPL_ERROR = -2, /**< The combination of arguments is not implemented. */
    ARM_CMSIS_NN_FAILURE = -3        /**< The operation could not be carried out. */
} arm_cmsis_nn_status;

/** A size or step in two dimensions. */
typedef struct {
    int32_t w; /**< Along the width. */
    int32_t h; /**< Along the height. */
} cmsis_nn_tile;

/** Scratch memory lent to one call. */
typedef struct {
    void *buf;    /**< At least what the function's _get_buffer_size returns; 8-byte aligned. */
    int32_t size; /**< In bytes. */
} cmsis_nn_context;

/** Size of a tensor in its NHWC (activations) or OHWI (weights) layout. */
typedef struct {
    int32_t n; /**< Batch size, or output channels of a filter. */
    int32_t h; /**< Height. */
    int32_t w; /**< Width. */
    int32_t c; /**< Channels. */
} cmsis_nn_dims;

/** Requantization of a layer with one scale for each output channel. */
typedef struct {
    int32_t *multiplier; /**< One a channel, [0, 2^31 - 1]. */
    int32_t *shift;      /**< One a channel, [-31, 30]; positive is to the left. */
} cmsis_nn_per_channel_quant_params;

/** Requantization of a layer with one scale. */
typedef struct {
    int32_t multiplier; /**< [0, 2^31 - 1]. */
    int32_t shift;      /**< [-31, 30]; positive is to the left. */
} cmsis_nn_per_tensor_quant_params;

/** Clamp of the output, both ends included. */
typedef struct {
    int32_t min; /**< At least -128. */
    int32_t max; /**< At most 127. */
} cmsis_nn_activation;

/** Convolution. */
typedef struct {
    int32_t input_offset;  /**< Minus the input's zero point, [-127, 128]. */
    int32_t output_offset; /**< The output's zero point, [-128, 127]. */
    cmsis_nn_tile stride;
    cmsis_nn_tile padding; /**< Columns on the left, rows above; padded cells count as zero. */
    cmsis_nn_tile dilation;
    cmsis_nn_activation activation;
} cmsis_nn_conv_params;

/** Depthwise convolution. */
typedef struct {
    int32_t input_offset;  /**< Minus the input's zero point, [-127, 128]. */
    int32_t output_offset; /**< The output's zero point, [-128, 127]. */
    int32_t ch_mult;       /**< Output channels for each input channel. */
    cmsis_nn_tile stride;
    cmsis_nn_tile padding;
    cmsis_nn_tile dilation;
    cmsis_nn_activation activation;
} cmsis_nn_dw_conv_params;

/** Pooling. */
typedef struct {
    cmsis_nn_tile stride;
    cmsis_nn_tile padding;
    cmsis_nn_activation activation;
} cmsis_nn_pool_params;

/** Fully-connected layer. */
typedef struct {
    int32_t input_offset;  /**< Minus the input's zero point, [-127, 128]. */
    int32_t filter_offset; /**< Not used: weights are symmetric. */
    int32_t output_offset; /**< The output's zero point, [-128, 127]. */
    cmsis_nn_activation activation;
} cmsis_nn_fc_params;

#endif /* FEDTINY_USE_CMSIS_NN */

/** Largest side, channel count or stride a sparse kernel takes, largest number of weights in one
 *  output channel, and largest number of values in a padded map: products of two sides and four
 *  times a map then fit in 32 bits. */
#define FEDTINY_MAX_SIDE 65535
#define FEDTINY_MAX_VALUES (INT32_C(1) << 28)

/** A condition that the compiler checks; a statement within a function. */
#define FEDTINY_STATIC_ASSERT(condition) \
    do { \
        (void)sizeof(char[(condition) ? 1 : -1]); \
    } while (0)

struct fedtiny_stream;
struct fedtiny_entry_list;
struct fedtiny_dot;

/** Decodes the next output channel of a stream into a list; false if it is corrupt. One function a
 *  format, so that a program holds the decoders of its own formats only. */
typedef bool fedtiny_decoder(struct fedtiny_stream *stream, int32_t entries,
                             struct fedtiny_entry_list *list);

/** The same fused with a dot product, for layers that use each weight once. */
typedef bool fedtiny_dot_decoder(struct fedtiny_stream *stream, int32_t entries,
                                 const int8_t *input, int32_t features, struct fedtiny_dot *dot);

/** The weights of one layer as the sparse kernels read them. */
typedef struct {
    fedtiny_decoder *decode;   /**< Of a convolution: fedtiny_decode_d8 and its like. */
    fedtiny_dot_decoder *dot;  /**< Of a fully-connected layer: fedtiny_dot_d8 and its like. */
    /** Number of entries in each output channel's stream: for D8 the pairs, for N4 the gaps,
     *  for bitmap and dense the non-zero weights, for D4 the distances, for P4 the bytes. */
    const uint16_t *entries;
    uint16_t max_nonzeros;  /**< Most non-zero weights in one output channel: sizes the scratch. */
    const uint8_t *stream;  /**< All channels' streams, one after the other. */
    uint32_t stream_bytes;  /**< Length of the stream; nothing is read beyond it. */
} fedtiny_sparse_weights;

#endif /* FEDTINY_NN_TYPES_H */
