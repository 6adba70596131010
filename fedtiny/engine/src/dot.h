// out[i] += sum over positions of gradient * (the window non-zero i reads): the weight gradient at
// the non-zeros only. A register tile of the gradient is held while the output channel's non-zeros
// are swept; the lane sums of up to N non-zeros are reduced together.
#pragma once
#include "gather.h"

namespace fedtiny {
namespace {

// Besides a tile of the gradient two vectors accumulate, or four where registers are few: what waits
// for an addition waits beside the next non-zeros' products.
constexpr int kDotSums = FT_REGISTERS == 32 ? 2 : 4;
constexpr int kMaxGradVectors = FT_REGISTERS == 32 ? kMaxAccumulators : kMaxAccumulators - kDotSums;

template <class TileNumber>
struct Dot {
  using Number = TileNumber;
  const Number* in;
  int64_t in_row;
  const void* grad;  // a map of reals, or of bfloat16
  bool narrow;
  int64_t grad_at;  // the first number of `grad` that is meant
  int64_t grad_channel, grad_row;
  const int32_t* start;
  int64_t start_stride;  // list of channel c: [start[c * stride], start[c * stride + 1])
  const int32_t* offset;
  real* out;
  int64_t out_stride;  // dense: reals between two channels' results
  int64_t first, last;  // output channels
};

template <int N, int G>
FT_INLINE void add_sums(Vec<N>* partial, real* out, int64_t count) {
  for (int k = G / 2; k < G; ++k)  // these only: a loop of its own becomes a slow string operation
    if (k >= count) partial[k] = Vec<N>{};
  const Vec<N> sums = sum_each<N, G>(partial);
  if (count == N) {
    store<N>(out, load<N>(out) + sums);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] += sums[i];
  }
}

// Out of line: one copy for all tiles, called once for up to N non-zeros.
template <int N>
__attribute__((noinline)) void reduce(Vec<N>* partial, real* out, int64_t count) {
  if constexpr (N >= 16) if (count > 8) return add_sums<N, 16>(partial, out, count);
  if constexpr (N >= 8) if (count > 4) return add_sums<N, 8>(partial, out, count);
  if constexpr (N >= 4) if (count > 2) return add_sums<N, 4>(partial, out, count);
  if (count > 1) return add_sums<N, 2>(partial, out, count);
  add_sums<N, 1>(partial, out, count);
}

template <int N, int L, int R, int T>
struct DotTile {
  template <class Number>
  static void run(const Dot<Number>& d) {
    constexpr int64_t step = N > L ? N : L;
    for (int64_t c = d.first; c < d.last; ++c) {
      const int32_t begin = d.start[c * d.start_stride], end = d.start[c * d.start_stride + 1];
      if (begin == end) continue;
      for (int lane = 0; lane < (N > L ? N : L); lane += N) {
        Vec<N> g[R][T];
        const int64_t at = d.grad_at + c * d.grad_channel + lane;
        prefetch_tile<R, T, 0>(d.grad, d.narrow, at + 2 * d.grad_channel, d.grad_row, step);
        load_tile<N, R, T>(d.grad, d.narrow, at, d.grad_row, step, g);
        real* out = d.out + c * d.out_stride;
        for (int32_t i = begin; i < end; i += N)
          sweep(d, g, i, end - i < N ? end - i : N, lane, out + i);
      }
    }
  }

 private:
  template <class Number>
  static FT_INLINE void sweep(const Dot<Number>& d, const Vec<N> (&g)[R][T], int32_t i,
                              int32_t count, int lane, real* out) {
    constexpr int64_t step = N > L ? N : L;
    Vec<N> partial[N];
    for (int32_t k = 0; k < count; ++k) {
      const Number* p = d.in + lane + d.offset[i + k];
      Vec<N> a[kDotSums] = {};
      for (int r = 0; r < R; ++r) {
        const Number* row = row_at(p + r * d.in_row);
        for (int t = 0; t < T; ++t) {
          const Vec<N> product = g[r][t] * load<N>(row + t * step);
          const int i = r * T + t;
          a[i % kDotSums] = i < kDotSums ? product : a[i % kDotSums] + product;
        }
      }
      partial[k] = a[0];
      for (int i = 1; i < kDotSums && i < R * T; ++i) partial[k] += a[i];
    }
    reduce<N>(partial, out, count);
  }
};

template <int N, int L, class Number>
FT_INLINE void dot_vectors(const Dot<Number>& d, int64_t rows, int64_t columns) {
  constexpr int64_t step = N > L ? N : L;
  cover<Dot<Number>, DotTile, N, L, kMaxGradVectors>(
      d, rows, columns, [](Dot<Number> at, int64_t y, int64_t x) {
        at.in += y * at.in_row + x * step;
        at.grad_at += y * at.grad_row + x * step;
        return at;
      });
}

template <int L, class Number>
void dot(Dot<Number> d, int64_t rows, int64_t columns) {
  constexpr int N = kNative < L ? kNative : L;
  if constexpr (kNative > L) {
    const int64_t wide = columns * L / kNative, covered = wide * (kNative / L);
    dot_vectors<kNative, L>(d, rows, wide);
    d.in += covered * L;
    d.grad_at += covered * L;
    columns -= covered;
  }
  dot_vectors<N, L>(d, rows, columns);
}

}  // namespace
}  // namespace fedtiny
