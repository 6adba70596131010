// The same sums over all weights of a layer, for layers that miss few: every output channel reads
// the same windows, so a register tile spans several channels and uses each loaded vector for all.
// Every sum adds its terms in the order of the sparse kernels; absent weights add zeros.
#pragma once
#include "dot.h"

namespace fedtiny {
namespace {

// Weights of a channel swept at a time: the windows they read stay in the first-level cache while
// all channels pass. A dot's register tile is larger, so it reads more for each weight.
constexpr int32_t kGatherChunk = 192, kDotChunk = 32;

#if defined(__FMA__) || defined(__aarch64__)
constexpr int kOthers = 1;  // the weight
#else
constexpr int kOthers = 2;  // the weight, and a product before it is added
#endif

// A register tile is a panel of channels: their sums, the inputs they share, and the others.
constexpr int kPanel = 4;
constexpr int kPanelVectors =
    int(smaller((FT_REGISTERS - kOthers) / (kPanel + 1), kMaxAccumulators / kPanel));

template <int N, int L, int R, int T>
struct PanelTile {
  template <class Number>
  static void run(const Gather<Number>& g) {
    int64_t c = g.first;
    for (; c + kPanel <= g.last; c += kPanel) sweep<kPanel>(g, c);
    for (; c < g.last; ++c) sweep<1>(g, c);
  }

 private:
  template <int K, class Number>
  static FT_INLINE void sweep(const Gather<Number>& g, int64_t c) {
    for (int lane = 0; lane < (N > L ? N : L); lane += N) sweep_lanes<K>(g, c, lane);
  }

  template <int K, class Number>
  static FT_INLINE void sweep_lanes(const Gather<Number>& g, int64_t c, int lane) {
    constexpr int64_t step = N > L ? N : L;
    const int64_t out_step = N > L ? N : g.out_step;
    const Number* in = g.in + lane;
    const int64_t at = g.out_at + c * g.out_channel + lane;
    Held<N> a[K][R][T];
    for (int k = 0; k < K; ++k) {
      const real initial = g.center ? -g.center[c + k] : (g.bias ? g.bias[c + k] : real(0));
      for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) a[k][r][t] = all_of<N>(initial);
      if (g.accumulate)
        load_tile<N, R, T>(g.out, g.narrow, at + k * g.out_channel, g.out_row, out_step, a[k]);
    }
    const real* value = g.value + c * g.value_stride;
    for (int32_t i = g.start[0]; i < g.start[1]; ++i) {
      const Number* p = in + g.offset[i];
      Held<N> x[R][T];
      for (int r = 0; r < R; ++r) {
        const Number* row = row_at(p + r * g.in_row);
        for (int t = 0; t < T; ++t) x[r][t] = take<N>(row + t * step);
      }
      for (int k = 0; k < K; ++k) {
        const Held<N> w = all_of<N>(value[k * g.value_stride + i]);
        for (int r = 0; r < R; ++r)
          for (int t = 0; t < T; ++t) a[k][r][t] = a[k][r][t] + w * x[r][t];
      }
    }
    for (int k = 0; k < K; ++k)
      store_tile<N, R, T>(g.out, g.narrow, at + k * g.out_channel, g.out_row, out_step, a[k]);
  }
};

// f(range) over [begin, end) in chunks; once, empty, if there is nothing.
template <class F>
FT_INLINE void each_chunk(int32_t begin, int32_t end, int32_t chunk, const F& f) {
  do {
    const int32_t range[2] = {begin, int32_t(smaller(begin + chunk, end))};
    f(range);
    begin += chunk;
  } while (begin < end);
}

// gather() of the weights [begin, end) that all channels share.
template <int L, class Number>
void gather_dense(Gather<Number> g, int32_t begin, int32_t end, int64_t rows, int64_t columns) {
  const bool statistics = g.sums != nullptr;
  g.start_stride = 0;
  // what is rounded when it is stored is summed at once
  each_chunk(begin, end, g.narrow ? end : kGatherChunk, [&](const int32_t* range) {
    g.start = range;
    gather<L, PanelTile, kPanelVectors>(g, rows, columns);
    g.accumulate = true;
  });
  if (!statistics) return;
  const int32_t nothing[2] = {0, 0};  // the statistics alone, in the sparse kernel's order
  g.start = nothing;
  gather<L>(g, rows, columns);
}

// dot() of all weights.
template <int L, class Number>
void dot_dense(Dot<Number> d, int32_t count, int64_t rows, int64_t columns) {
  d.start_stride = 0;
  each_chunk(0, count, kDotChunk, [&](const int32_t* range) {
    d.start = range;
    dot<L>(d, rows, columns);
  });
}

inline int64_t row_weights(const Layer& l) { return l.in_channels * l.kernel_h * l.kernel_w; }

// All weights of a dense layer in tensor order, from the values held.
inline real* scatter(const Op& op, const Run& run, const real* held) {
  const Layer& l = *op.layer;
  const int64_t row = row_weights(l);
  parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
    std::memset(op.weights + begin * row, 0, size_t((end - begin) * row) * sizeof(real));
    for (int32_t i = l.start[begin]; i < l.start[end]; ++i) op.weights[l.flat[i]] = held[i];
  });
  return op.weights;
}

// op.sums = all weights by input channel, stride phase, output channel, tap: the order in which an
// input gradient sums them.
inline void transpose(const Op& op, const Run& run, const real* weights) {
  const Layer& l = *op.layer;
  const int64_t row = row_weights(l), taps = l.kernel_h * l.kernel_w;
  parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
    real* to = op.sums + begin * l.out_channels * taps;
    for (int64_t c = begin; c < end; ++c)
      for (int64_t r = 0; r < l.stride_h; ++r)
        for (int64_t s = 0; s < l.stride_w; ++s)
          for (int64_t o = 0; o < l.out_channels; ++o)
            for (int64_t i = r; i < l.kernel_h; i += l.stride_h)
              for (int64_t j = s; j < l.kernel_w; j += l.stride_w)
                *to++ = weights[o * row + c * taps + i * l.kernel_w + j];
  });
}

}  // namespace
}  // namespace fedtiny
