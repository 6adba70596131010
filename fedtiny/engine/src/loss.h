// The loss of a batch, its correct predictions, and the gradient the backward pass starts from.
#pragma once
#include <cmath>

#include "bfloat16.h"

namespace fedtiny {
namespace {

// Softmax cross-entropy of the logits (op.input), summed over the samples; its gradient into op.out.
template <int L>
void run_loss(const Op& op, const Run& run) {
  const int64_t classes = op.channels;
  if (op.out) zero(op.out, run.blocks * classes * L);
  for (int64_t n = 0; n < run.valid; ++n) {
    const int64_t at = n / L * classes * L + n % L;
    int64_t best = 0;
    for (int64_t c = 1; c < classes; ++c)
      if (op.input[at + c * L] > op.input[at + best * L]) best = c;
    const double top = double(op.input[at + best * L]);
    double total = 0;
    for (int64_t c = 0; c < classes; ++c) total += std::exp(double(op.input[at + c * L]) - top);
    *run.loss += std::log(total) + top - double(op.input[at + run.y[n] * L]);
    *run.correct += best == run.y[n];
    if (!op.out) continue;
    for (int64_t c = 0; c < classes; ++c) {
      const double p = std::exp(double(op.input[at + c * L]) - top) / total;
      op.out[at + c * L] = real((p - double(c == run.y[n])) * run.grad_scale);
    }
  }
}

}  // namespace
}  // namespace fedtiny
