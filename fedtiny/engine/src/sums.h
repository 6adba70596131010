// Whole tensors, a row at a time: sums stored in the forward pass, and their gradients masked or
// handed on in the backward pass.
#pragma once
#include "norm.h"

namespace fedtiny {
namespace {

// f(channel, offset of its map in block order) for every channel of every block.
template <int L, class F>
FT_INLINE void each_map(const Op& op, const Run& run, const F& f) {
  const int64_t map = op.height * op.width * L;
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) f(c, (block * op.channels + c) * map, map);
  });
}

template <int L>
void run_sum(const Op& op, const Run& run) {
  each_map<L>(op, run, [&](int64_t c, int64_t at, int64_t n) {
    for (int64_t k = 0; k < n; k += 1024)
      read_row(op, c, at + k, op.out + at + k, smaller(1024, n - k));
  });
}

template <int L>
void run_mask_grad(const Op& op, const Run& run) {
  each_map<L>(op, run, [&](int64_t c, int64_t at, int64_t n) {
    with_numbers(op.out, op.narrow_out, [&](auto* gradient) {
      for (int64_t k = at; k < at + n; k += kPiece)
        pull_back_rows(op, c, k, gradient + k, smaller(kPiece, at + n - k));
    });
  });
}

// out (+)= in, both of the same width
template <int L>
void run_add_grad(const Op& op, const Run& run) {
  each_map<L>(op, run, [&](int64_t, int64_t at, int64_t n) {
    with_numbers(op.out, op.narrow_out, [&](auto* out) {
      const auto* in = reinterpret_cast<decltype(out)>(op.input);
      if (!op.accumulate) return copy(in + at, out + at, n);
      for_vectors(n, [=](auto width, int64_t k) {
        constexpr int N = decltype(width)::value;
        store<N>(out + at + k, load<N>(out + at + k) + load<N>(in + at + k));
      });
    });
  });
}

}  // namespace
}  // namespace fedtiny
