// Shared structures of the sparse training engine. Python fills them (engine/abi.py mirrors every
// field, mirror.h lists them); all are 8 bytes wide, or 4 and in pairs: no padding on any 64-bit
// machine.
//
// Activation layout: [block][channel][row][column][lane]. A block is `lanes` samples (16, 8 or 4),
// so every weight multiplies a contiguous vector wherever it sits in the kernel.
#pragma once
#include <cstdint>

#ifndef FT_REAL
#define FT_REAL float
#endif

namespace fedtiny {

using real = FT_REAL;

constexpr int kMaxTerms = 4;

enum Activation : int64_t {
  kNone, kRelu, kRelu6, kHardSwish,
  kActivations,  // how many there are
};

// One summand of a tensor that is recomputed where it is read: scale[c] (data - mean[c]) + beta[c].
struct Term {
  const real* data;
  const real* mean;  // null: plain data
  const real* scale;
  const real* beta;
  int32_t activation;      // of the summand, before it is added
  int32_t sum_activation;  // of the sum, after it was added
  const real* packed;  // null, or what `data` is expanded from, a block at a time (activations.h)
  int32_t capacity;    // values kept per map of `packed`
  int32_t narrow;      // `data` holds bfloat16
};

// A convolution (a linear layer is a 1x1 convolution over a 1x1 map) and its batch norm.
struct Layer {
  int64_t in_channels, in_height, in_width;
  int64_t out_channels, out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  int64_t group_inputs, group_outputs;  // channels of one group
  int64_t batch_norm, activation;
  int64_t tile_rows;  // output rows computed from one padded tile of the input
  int64_t grad_rows;  // the same for the input gradient, from a padded tile of the gradient
  int64_t dense;      // dense kernels: all weights are computed with, absent ones as zeros
  const int32_t* flat;  // positions of the non-zeros in the weight tensor; null: all are present
  // non-zeros by output channel: offsets into the padded input tile; dense: the offsets of one
  // output channel's weights, which all share
  const int32_t* start;
  const int32_t* offset;
  // non-zeros by (input channel, stride phase): offsets into the padded gradient tile; null when
  // the layer reads the network's input; dense: the lists of one input channel
  const int32_t* grad_start;
  const int32_t* grad_offset;
  const int32_t* grad_weight;  // position of the same non-zero in `values`; dense: null
  real* values;
  real* value_grads;  // null: frozen
  real* gamma;
  real* beta;  // the bias where there is no batch norm
  real* gamma_grad;
  real* beta_grad;  // null: frozen
  real* running_mean;
  real* running_var;
  // coefficients of the last forward pass; conv outputs are stored minus `center`
  real* center;
  real* mean;
  real* inverse_std;
  real* scale;
};

enum Kind : int64_t {
  kLoad, kConv, kConvAgain, kSum, kPool, kLoss,
  kNormGrad, kConvGrad, kMaskGrad, kAddGrad, kPoolGrad,
  kRange, kGrow,
  kPrune, kExpand, kGate, kGateGrad,
  kBiasGrad, kUpsample, kUpsampleGrad,
  kKinds,  // how many there are
};

struct Op {
  int64_t kind;
  const Layer* layer;
  int64_t channels, height, width;  // of the tensor read
  int64_t out_height, out_width;    // pooling, upsampling
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, is_max;
  int64_t terms;
  Term term[kMaxTerms];
  real* input;    // a gradient, or the conv output a norm gradient replaces
  real* out;
  real* scratch;  // padded tile, or a row per thread
  real* sums;     // per-channel partial statistics of each block, or transposed values
  real* weights;  // dense layer with absent weights: all values, or all gradients
  int64_t accumulate;  // add to `out` instead of writing it
  int64_t activation;  // that the gradient passes, or whose gates are kept; terms: before it
  int64_t gated;  // the gates of the layer's activation were applied to the gradient before
  int64_t first_channel, last_channel;  // growth: output channels of this tile
  int64_t top_k;
  int32_t* top_index;
  int64_t* top_count;
  real* top_value;
  int64_t capacity;  // growth: absent weights one tile may hold; pruning: values kept per map
  int32_t* absent_offset;
  real* absent_grad;
  int64_t finish;  // growth: gradients are complete, select now
  int32_t narrow_input, narrow_out;  // that map holds bfloat16
  int32_t narrow_tile;  // `scratch`, a convolution's padded tile, holds bfloat16
  int32_t tile_bytes;   // of the tile that each thread has in `scratch`; 0: they share one
  real* partial;  // weight gradients of one block of several, of each where threads have own tiles
};

using Body = void (*)(const void* argument, int64_t begin, int64_t end, int64_t thread);

struct Run {
  const Op* ops;
  int64_t count;
  int64_t lanes;
  int64_t valid;   // samples present
  int64_t blocks;  // ceil(valid / lanes)
  const real* x;   // (valid, C, H, W)
  const int64_t* y;
  int64_t training;     // batch statistics, and running statistics updated
  double bn_momentum;
  double grad_scale;    // of the summed loss: 1 / batch
  double* loss;         // summed over samples
  int64_t* correct;
  double* seconds;      // per op, accumulated; may be null
  int64_t threads;
  void* pool;
  void (*parallel)(void* pool, int64_t count, Body body, const void* argument);
};

// values -= learning_rate * (momentum buffer), over all parameters at once.
struct Sgd {
  real* values;
  const real* grads;
  real* momentum;
  int64_t count;
  double learning_rate, momentum_factor, weight_decay;
};

// values -= rate * first / (sqrt(second) * correction + epsilon), the averages of gradients and of
// their squares being updated first; bias corrections are in `rate` and `correction`.
struct Adam {
  real* values;
  const real* grads;
  real* first;
  real* second;
  int64_t count;
  double rate, correction, keep_first, keep_second, epsilon, weight_decay;
};

}  // namespace fedtiny
