/* SPDX-License-Identifier: Apache-2.0
 *
 * FedTiny Learn: a small float32 network beside a frozen int8 one, forward and backward. It reads
 * the int8 network's maps and never writes into it, so that nothing but it has a gradient.
 *
 *     pooled_k = average pool of the map k of the int8 network, dequantized
 *     ladder   = sum over k of relu(convolution_k(pooled_k))
 *     x        = features + out * mean(ladder) + out bias
 *     logits   = head * x + head bias
 *
 * Features are the int8 tensor that the int8 classifier reads. Without rungs x is the features:
 * the head alone learns.
 *
 * No function allocates, recurses or has state. Of libm only sqrtf is called, which every IEEE 754
 * implementation rounds correctly; exponential and logarithm are our own. Sums are taken in the
 * order of the loops. So results are equal, bit for bit, wherever float is IEEE 754 binary32 with
 * subnormal numbers and products and sums are rounded one by one: compile with -ffp-contract=off.
 *
 * Maps are HWC, weights OHWI; float means float32. Sizes, positions and offsets come from the
 * generated code and are not checked here.
 */
#ifndef FEDTINY_LEARN_H
#define FEDTINY_LEARN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Average pooling of an int8 map to float; rows and columns that fill no window are dropped. */
typedef struct {
    int32_t height;     /* of the map */
    int32_t width;
    int32_t channels;
    int32_t kernel_h;   /* of the window, and the stride; kernel_h * kernel_w < 2^16 */
    int32_t kernel_w;
    int32_t zero_point; /* of the map */
    float scale;        /* of the map, divided by the cells of a window */
} fedtiny_learn_pool;

/** A convolution over a pooled map: stride 1, as much padding as keeps the size, then ReLU. */
typedef struct {
    int32_t height;   /* of the pooled map */
    int32_t width;
    int32_t channels;
    int32_t outputs;
    int32_t groups;   /* divides channels and outputs */
    int32_t kernel_h; /* odd */
    int32_t kernel_w; /* odd */
} fedtiny_learn_conv;

/** What reads one map of the int8 network. */
typedef struct {
    int32_t step;            /* of the int8 network that makes the map */
    uint32_t map;            /* byte offsets in the arena: of the map, */
    uint32_t pooled;         /* of the pooled map, float [height, width, channels], */
    uint32_t active;         /* and of a byte for each output of the convolution: is it > 0? */
    fedtiny_learn_pool pool;
    fedtiny_learn_conv conv;
    uint32_t weight;         /* positions among the parameters: [outputs, kernel_h, kernel_w, */
    uint32_t bias;           /* channels / groups], and [outputs] */
} fedtiny_learn_rung;

/** The network; offsets are bytes in the arena, multiples of 4, parameters float. */
typedef struct {
    const fedtiny_learn_rung *rungs; /* in the order of their steps */
    int32_t rung_count;              /* 0: the head alone */
    int32_t features_step;           /* of the int8 network that makes the features */
    uint32_t features_map;           /* offset of the int8 features */
    fedtiny_learn_pool features;     /* windows of one cell: it dequantizes */
    int32_t feature_count;
    int32_t middle;                  /* channels of the ladder */
    int32_t classes;
    uint32_t x;                      /* offset of float [feature_count] */
    uint32_t x_gradient;             /* of float [feature_count] */
    uint32_t ladder;                 /* of float [middle]: its mean */
    uint32_t ladder_gradient;        /* of float [middle] */
    uint32_t logits;                 /* of float [classes]; their gradient, too */
    uint32_t out_weight;             /* positions among the parameters: [feature_count, middle], */
    uint32_t out_bias;               /* [feature_count], */
    uint32_t head_weight;            /* [classes, feature_count], */
    uint32_t head_bias;              /* [classes] */
} fedtiny_learn_net;

/** State of the optimizer beside its two moments of every parameter. */
typedef struct {
    float rate;         /* learning rate, > 0 */
    float first_power;  /* 0.9^steps and 0.999^steps; 1 before the first */
    float second_power;
} fedtiny_learn_adam;

/**
 * Average pooling, dequantized: scale * (sum of codes - cells * zero point), the sum being exact.
 *
 * @param map     int8 [height, width, channels]
 * @param pooled  float [height / kernel_h, width / kernel_w, channels]
 */
void fedtiny_learn_pool_s8(const fedtiny_learn_pool *pool, const int8_t *map, float *pooled);

/** Bytes of fedtiny_learn_pool_s8's result. */
int32_t fedtiny_learn_pool_s8_get_buffer_size(const fedtiny_learn_pool *pool);

/**
 * Convolution with ReLU, added up over the map.
 *
 * @param pooled  float [height, width, channels]
 * @param weight  float [outputs, kernel_h, kernel_w, channels / groups]
 * @param bias    float [outputs]
 * @param sums    float [outputs]; the outputs of every cell are added
 * @param active  [height, width, outputs]; 1 where the output is > 0, else 0
 */
void fedtiny_learn_conv_forward(const fedtiny_learn_conv *conv, const float *pooled,
                                const float *weight, const float *bias, float *sums,
                                uint8_t *active);

/** Bytes of fedtiny_learn_conv_forward's `active`, which the backward pass reads. */
int32_t fedtiny_learn_conv_forward_get_buffer_size(const fedtiny_learn_conv *conv);

/**
 * Gradients of weights and biases of fedtiny_learn_conv_forward.
 *
 * @param pooled           as there
 * @param active           as left there
 * @param sums_gradient    float [outputs]
 * @param weight_gradient  as the weights; added to
 * @param bias_gradient    float [outputs]; added to
 */
void fedtiny_learn_conv_backward(const fedtiny_learn_conv *conv, const float *pooled,
                                 const uint8_t *active, const float *sums_gradient,
                                 float *weight_gradient, float *bias_gradient);

/**
 * y = weight * x + bias, or y = y + (weight * x + bias).
 *
 * @param weight  float [rows, columns]
 * @param bias    float [rows]
 * @param x       float [columns]
 * @param y       float [rows]
 * @param added   whether to add to y
 */
void fedtiny_learn_linear_forward(int32_t rows, int32_t columns, const float *weight,
                                  const float *bias, const float *x, float *y, int32_t added);

/**
 * Gradients of fedtiny_learn_linear_forward.
 *
 * @param y_gradient       float [rows]
 * @param weight_gradient  float [rows, columns]; added to
 * @param bias_gradient    float [rows]; added to
 * @param x_gradient       float [columns], written; or NULL
 */
void fedtiny_learn_linear_backward(int32_t rows, int32_t columns, const float *weight,
                                   const float *x, const float *y_gradient,
                                   float *weight_gradient, float *bias_gradient,
                                   float *x_gradient);

/**
 * Cross-entropy of softmax; the logits become its gradient.
 *
 * @param logits  float [classes]
 * @param label   in [0, classes)
 * @return the loss; infinite if a logit is not finite: the logits are as they were then
 */
float fedtiny_learn_softmax(int32_t classes, int32_t label, float *logits);

/** e^x of x <= 0, within 3e-7 of it; 0 below -87 and of what is no number. */
float fedtiny_learn_exp(float x);

/** The natural logarithm of a finite x >= 1, within 3e-7 of it or of 1. */
float fedtiny_learn_log(float x);

/**
 * One step of Adam (Kingma & Ba 2015) with 0.9, 0.999 and 1e-8; gradients become 0.
 *
 * @param adam       its powers advance
 * @param count      of parameters
 * @param scale      of the gradients: 1 / windows
 * @param values     float [count]
 * @param gradients  float [count]
 * @param first      float [count]; moments, 0 before the first step
 * @param second     float [count]
 */
void fedtiny_learn_adam_step(fedtiny_learn_adam *adam, int32_t count, float scale, float *values,
                             float *gradients, float *first, float *second);

/** The index of the largest of `count` >= 1 numbers, the first one on a tie. */
int32_t fedtiny_learn_argmax(const float *values, int32_t count);

/** Whether all of `count` numbers are finite: 1 or 0. */
int32_t fedtiny_learn_all_finite(const float *values, int32_t count);

/**
 * What the network reads of a step's result, as soon as the step has run: later ones write over it.
 *
 * @param step   of the int8 network, [0, features_step]
 * @param arena  of the int8 network; pooled maps and features are left in it
 */
void fedtiny_learn_read(const fedtiny_learn_net *net, int32_t step, int8_t *arena);

/**
 * Logits of what fedtiny_learn_read left.
 *
 * @param values  all parameters
 * @return the logits, float [classes], in the arena
 */
float *fedtiny_learn_forward(const fedtiny_learn_net *net, const float *values, int8_t *arena);

/**
 * Gradients of all parameters, after fedtiny_learn_forward and fedtiny_learn_softmax.
 *
 * @param values     all parameters
 * @param gradients  as many; added to
 */
void fedtiny_learn_backward(const fedtiny_learn_net *net, const float *values, float *gradients,
                            int8_t *arena);

#ifdef __cplusplus
}
#endif

#endif /* FEDTINY_LEARN_H */
