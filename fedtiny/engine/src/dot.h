// out[i] += sum over positions of gradient * (the window non-zero i reads): the weight gradient at
// the non-zeros only. A register tile of the gradient is held while the output channel's non-zeros
// are swept; the lane sums of up to N non-zeros are reduced together.
#pragma once
#include "gather.h"

namespace fedtiny {
namespace {

// Besides a tile of the gradient four vectors accumulate, or two where the tile leaves no more: what
// waits for an addition waits beside the others and the next non-zeros' products.
constexpr int kMaxGradVectors = FT_REGISTERS == 32 ? kMaxAccumulators : kMaxAccumulators - 4;
constexpr int dot_sums(int vectors) { return FT_REGISTERS == 32 && vectors > 24 ? 2 : 4; }

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

// Sums by lane that wait for their reduction; they belong to results that lie together.
template <int N>
struct Waiting {
  Vec<N>* partial;  // N of them
  real* out;
  int64_t count;

  FT_INLINE void add(Vec<N> sums) {
    partial[count++] = sums;
    if (count == N) flush();
  }
  FT_INLINE void flush() {
    if (count) reduce<N>(partial, out, count);
    out += count;
    count = 0;
  }
};

template <int N, int L, int R, int T>
struct DotTile {
  template <class Number>
  static void run(const Dot<Number>& d) {
    for (int lane = 0; lane < (N > L ? N : L); lane += N) {
      Vec<kLanes> partial[kLanes];
      real* out = d.out + d.first * d.out_stride + d.start[d.first * d.start_stride];
      Waiting<kLanes> waiting{partial, out, 0};
      for (int64_t c = d.first; c < d.last; ++c) {
        add_channel(d, c, lane, waiting);
        if (d.out_stride == 0) continue;  // the next channel's results follow
        waiting.flush();
        waiting.out = d.out + (c + 1) * d.out_stride + d.start[0];
      }
      waiting.flush();
    }
  }

 private:
  static constexpr int kLanes = N < kNative ? N : kNative;
  static constexpr int kSums = dot_sums(R * T * N / kLanes) * kLanes / N;
  static constexpr int64_t kStep = N > L ? N : L;

  template <class Number>
  static FT_INLINE void add_channel(const Dot<Number>& d, int64_t c, int lane,
                                    Waiting<kLanes>& waiting) {
    const int32_t begin = d.start[c * d.start_stride], end = d.start[c * d.start_stride + 1];
    if (begin == end) return;
    Held<N> g[R][T];
    const int64_t at = d.grad_at + c * d.grad_channel + lane;
    prefetch_tile<R, T, 0>(d.grad, d.narrow, at + 2 * d.grad_channel, d.grad_row, kStep);
    load_tile<N, R, T>(d.grad, d.narrow, at, d.grad_row, kStep, g);
    for (int32_t i = begin; i < end; ++i) {
      const Number* p = d.in + lane + d.offset[i];
      Held<N> a[kSums] = {};
      for (int r = 0; r < R; ++r) {
        const Number* row = row_at(p + r * d.in_row);
        for (int t = 0; t < T; ++t) {
          const Held<N> product = g[r][t] * take<N>(row + t * kStep);
          const int k = r * T + t;
          a[k % kSums] = k < kSums ? product : a[k % kSums] + product;
        }
      }
      for (int k = 1; k < kSums && k < R * T; ++k) a[0] = a[0] + a[k];
      waiting.add(joined<N>(a[0]));
    }
  }
};

template <int N, int L, class Number>
FT_INLINE void dot_vectors(const Dot<Number>& d, int64_t rows, int64_t columns) {
  constexpr int64_t step = N > L ? N : L;
  cover<Dot<Number>, DotTile, N, L, held<N>(kMaxGradVectors)>(
      d, rows, columns, [](Dot<Number> at, int64_t y, int64_t x) {
        at.in += y * at.in_row + x * step;
        at.grad_at += y * at.grad_row + x * step;
        return at;
      });
}

template <int L, class Number, int W = kWidest<Number>>
void dot(Dot<Number> d, int64_t rows, int64_t columns) {
  if constexpr (W <= L) {
    dot_vectors<W, L>(d, rows, columns);
  } else {
    if (shares<W>(columns * L)) {
      const int64_t wide = columns * L / W, covered = wide * (W / L);
      dot_vectors<W, L>(d, rows, wide);
      d.in += covered * L;
      d.grad_at += covered * L;
      columns -= covered;
    }
    dot<L, Number, narrower<W, L>>(d, rows, columns);
  }
}

}  // namespace
}  // namespace fedtiny
