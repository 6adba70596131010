// The optimizer: one step over all parameters at once.
#pragma once
#include "vec.h"

namespace fedtiny {
namespace {

inline void run_sgd(const Sgd& s) {
  const real decay = real(s.weight_decay), keep = real(s.momentum_factor);
  const real rate = real(s.learning_rate);
  const int64_t whole = s.count / 4 * 4;  // for_vectors takes multiples of 4 only
  for_vectors(whole, [&](auto width, int64_t k) {
    constexpr int N = decltype(width)::value;
    const Vec<N> w = load<N>(s.values + k);
    const Vec<N> g = load<N>(s.grads + k) + splat<N>(decay) * w;
    const Vec<N> m = splat<N>(keep) * load<N>(s.momentum + k) + g;
    store<N>(s.momentum + k, m);
    store<N>(s.values + k, w - splat<N>(rate) * m);
  });
  for (int64_t k = whole; k < s.count; ++k) {
    s.momentum[k] = keep * s.momentum[k] + (s.grads[k] + decay * s.values[k]);
    s.values[k] -= rate * s.momentum[k];
  }
}

}  // namespace
}  // namespace fedtiny
