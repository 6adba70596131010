// Batch norm: statistics of the stored (centred) convolution outputs, and the backward pass.
#pragma once
#include <cmath>

#include "rows.h"

namespace fedtiny {
namespace {

constexpr double kEpsilon = 1e-5;

// Outputs are stored minus the running mean: the one-pass variance then loses no digits, and batch
// norm does not notice. A channel without weights stays exactly 0.
inline void set_center(const Layer& l) {
  for (int64_t o = 0; o < l.out_channels; ++o)
    l.center[o] = l.start[o] == l.start[o + 1] ? real(0) : l.running_mean[o];
}

inline void set_coefficients(const Layer& l, int64_t o, double mean, double variance) {
  const double inverse = 1.0 / std::sqrt(variance + kEpsilon);
  l.mean[o] = real(mean);
  l.inverse_std[o] = real(inverse);
  l.scale[o] = real(double(l.gamma[o]) * inverse);
}

inline void set_running_coefficients(const Layer& l) {
  for (int64_t o = 0; o < l.out_channels; ++o) {
    const double mean = double(l.running_mean[o]) - double(l.center[o]);
    set_coefficients(l, o, mean, double(l.running_var[o]));
  }
}

// sum over valid lanes of (z - about)^power, power 1 or 2, of one channel in all blocks.
template <int L, int kPower, class Number>
double channel_sum(const Number* z, const Layer& l, const Run& run, int64_t o, double about) {
  constexpr int N = kNative < L ? kNative : L;
  const int64_t map = l.out_height * l.out_width * L;
  const Vec<N> center = splat<N>(real(about));
  double total = 0;
  for (int64_t block = 0; block < run.blocks; ++block) {
    const Number* from = z + (block * l.out_channels + o) * map;
    for (int64_t lane = 0; lane < L && block * L + lane < run.valid; lane += N) {
      Vec<N> s{};
      for (int64_t k = lane; k < map; k += L) {
        const Vec<N> v = load<N>(from + k) - center;
        s += kPower == 2 ? v * v : v;
      }
      for (int64_t i = 0; i < N && block * L + lane + i < run.valid; ++i) total += double(s[i]);
    }
  }
  return total;
}

template <int L>
void set_batch_statistics(const Op& op, const Run& run, bool fused) {
  const Layer& l = *op.layer;
  const double count = double(run.valid * l.out_height * l.out_width);
  parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t o = begin; o < end; ++o) {
      double mean = 0, variance = -1;
      if (fused) {
        real* sums = op.sums + o * 32;  // of the first block, then of all
        for (int64_t block = 1; block < run.blocks; ++block)
          for_vectors(32, [=](auto width, int64_t k) {
            constexpr int N = decltype(width)::value;
            add_to(sums + k, load<N>(sums + block * l.out_channels * 32 + k));
          });
        double s1 = 0, s2 = 0;
        for (int i = 0; i < 16; ++i) {
          s1 += double(sums[i]);
          s2 += double(sums[16 + i]);
        }
        mean = s1 / count;
        variance = s2 / count - mean * mean;
      }
      // far from the running mean (or lanes padded): the exact two-pass variance
      if (!(variance >= 0.01 * mean * mean) || sizeof(real) == 8) {
        with_numbers(op.out, op.narrow_out, [&](const auto* z) {
          mean = channel_sum<L, 1>(z, l, run, o, 0.0) / count;
          mean = double(real(mean)) + channel_sum<L, 1>(z, l, run, o, mean) / count;
          variance = channel_sum<L, 2>(z, l, run, o, mean) / count;
        });
      }
      set_coefficients(l, o, mean, variance);
      const double keep = 1.0 - run.bn_momentum;
      l.running_mean[o] = real(keep * double(l.running_mean[o]) +
                               run.bn_momentum * (mean + double(l.center[o])));
      l.running_var[o] = real(keep * double(l.running_var[o]) +
                              run.bn_momentum * variance * count / (count > 1 ? count - 1 : 1));
    }
  });
}

constexpr int64_t kPiece = 2048;  // reals recomputed at a time

// dy, the gradient of an activation's result, becomes that of the value it was applied to, which the
// op's terms give: n <= kPiece numbers of channel c at `at`. Out of line, as it reads rows.
template <class Number>
__attribute__((noinline)) void pull_back_rows(const Op& op, int64_t c, int64_t at, Number* dy,
                                              int64_t n) {
  real v[kPiece];
  read_row(op, c, at, v, n);
  with_activation(op.activation, [&](auto code) {
    for_vectors(n, [&](auto width, int64_t i) {
      constexpr int N = decltype(width)::value;
      store<N>(dy + i, pull_back<decltype(code)::value>(load<N>(v + i), load<N>(dy + i)));
    });
  });
}

struct GradSums {
  double gradient, weighted;  // sum g, sum g * (z - mean)
};

// One channel's sums over n reals; g is dy behind the activation of scale (z - mean) + beta.
template <Activation kOwn, class Grad, class Number>
FT_INLINE GradSums grad_sums(const Grad* dy, const Number* z, int64_t n, real mean, real scale,
                             real beta) {
  constexpr int W = smaller(kWidest<Grad>, kWidest<Number>);
  constexpr int kSums = 4 * kNative / W;  // an addition need not wait for the one before
  Held<W> s1[kSums] = {}, s2[kSums] = {};
  int64_t k = 0;
  auto add = [&](auto width, auto& gradients, auto& weighted) FT_INLINED {
    constexpr int N = decltype(width)::value;
    const Held<N> v = take<N>(z + k) - all_of<N>(mean);
    const Held<N> g = pull_back<kOwn>(v * all_of<N>(scale) + all_of<N>(beta), take<N>(dy + k));
    gradients = gradients + g;
    weighted = weighted + g * v;
    k += N;
  };
  while (k + kSums * W <= n)
    for (int i = 0; i < kSums; ++i) add(Width<W>{}, s1[i], s2[i]);
  while (k + W <= n) add(Width<W>{}, s1[0], s2[0]);
  auto all = [](const auto& s) FT_INLINED {
    if constexpr (kSums == 4) return joined<W>((s[0] + s[1]) + (s[2] + s[3]));
    else return joined<W>(s[0] + s[1]);
  };
  Vec<kNative> gradients = all(s1), weighted = all(s2);
  if constexpr (W > kNative)
    while (k + kNative <= n) add(Width<kNative>{}, gradients, weighted);
  GradSums total{sum<kNative>(gradients), sum<kNative>(weighted)};
  for (; k < n; k += 4) {  // a map has a multiple of four
    const Vec<4> v = load<4>(z + k) - splat<4>(mean);
    const Vec<4> g = pull_back<kOwn>(v * splat<4>(scale) + splat<4>(beta), load<4>(dy + k));
    for (int i = 0; i < 4; ++i) {
      total.gradient += double(g[i]);
      total.weighted += double(g[i]) * double(v[i]);
    }
  }
  return total;
}

// z <- scale * (g - mean(g) - normalised * mean(g * normalised))
//    = scale * g + slope * (z - mean) + constant
template <Activation kOwn, class Grad, class Number>
FT_INLINE void replace_by_gradient(const Grad* dy, Number* z, int64_t n, real mean, real scale,
                                   real beta, real slope, real constant) {
  for_held<Grad, Number>(n, [=](auto width, int64_t k) {
    constexpr int N = decltype(width)::value;
    const Held<N> v = take<N>(z + k) - all_of<N>(mean);
    const Held<N> g = pull_back<kOwn>(v * all_of<N>(scale) + all_of<N>(beta), take<N>(dy + k));
    round_to<N>(z + k, g * all_of<N>(scale) + (v * all_of<N>(slope) + all_of<N>(constant)));
  });
}

template <class Number>
inline void clear_padded_lanes(Number* map, int64_t n, int64_t lanes, int64_t valid_lanes) {
  for (int64_t k = 0; k < n; k += lanes)
    for (int64_t lane = valid_lanes; lane < lanes; ++lane) map[k + lane] = Number{};
}

template <Activation kOwn, class Grad, class Number>
void norm_grad_channel(const Op& op, const Run& run, int64_t o, Grad* gradient, Number* z) {
  const Layer& l = *op.layer;
  const int64_t map = l.out_height * l.out_width * run.lanes;
  const real mean = l.batch_norm ? l.mean[o] : real(0);
  const real scale = l.batch_norm ? l.scale[o] : real(1);
  const real beta = l.batch_norm ? l.beta[o] : real(0);
  GradSums sums{};
  for (int64_t block = 0; block < run.blocks; ++block) {
    const int64_t at = (block * l.out_channels + o) * map;
    for (int64_t k = at; k < at + map; k += kPiece) {
      const int64_t part = smaller(kPiece, at + map - k);
      Grad* dy = gradient + k;
      if (op.terms) pull_back_rows(op, o, k, dy, part);
      const GradSums s = grad_sums<kOwn>(dy, z + k, part, mean, scale, beta);
      sums.gradient += s.gradient;
      sums.weighted += s.weighted;
    }
  }
  if (l.beta_grad) l.beta_grad[o] += real(sums.gradient);
  real slope = 0, constant = 0;
  if (l.batch_norm) {
    const double count = double(run.valid * l.out_height * l.out_width);
    const double inverse = double(l.inverse_std[o]);
    l.gamma_grad[o] += real(sums.weighted * inverse);
    slope = real(-double(scale) * sums.weighted / count * inverse * inverse);
    constant = real(-double(scale) * sums.gradient / count);
  }
  for (int64_t block = 0; block < run.blocks; ++block) {
    const int64_t at = (block * l.out_channels + o) * map;
    replace_by_gradient<kOwn>(gradient + at, z + at, map, mean, scale, beta, slope, constant);
    const int64_t valid = run.valid - block * run.lanes;
    if (valid < run.lanes) clear_padded_lanes(z + at, map, run.lanes, valid);
  }
}

// Replaces the stored output (op.out) by the gradient with respect to it, given the gradient of the
// node's result (op.input). Terms, if any, describe the sum behind whose activation op.input lies:
// it passes that first, in place.
inline void run_norm_grad(const Op& op, const Run& run) {
  const int64_t own = op.gated ? int64_t(kNone) : op.layer->activation;
  parallel(run, op.layer->out_channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t o = begin; o < end; ++o)
      with_activation(own, [&](auto code) {
        with_numbers(op.input, op.narrow_input, [&](auto* gradient) {
          with_numbers(op.out, op.narrow_out, [&](auto* z) {
            norm_grad_channel<decltype(code)::value>(op, run, o, gradient, z);
          });
        });
      });
  });
}

// A bias' gradient alone: the sum of the gradient of the layer's output, op.input.
inline void run_bias_grad(const Op& op, const Run& run) {
  const Layer& l = *op.layer;
  const int64_t map = l.out_height * l.out_width * run.lanes;
  parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t block = 0; block < run.blocks; ++block) {
        const int64_t at = (block * l.out_channels + o) * map;
        const int64_t lanes = smaller(run.lanes, run.valid - block * run.lanes);
        double total = 0;
        with_numbers(op.input, op.narrow_input, [&](const auto* dy) {
          for (int64_t k = 0; k < map; k += run.lanes)
            for (int64_t lane = 0; lane < lanes; lane += 4) {
              const Vec<4> four = load<4>(dy + at + k + lane);
              for (int i = 0; i < 4 && lane + i < lanes; ++i) total += double(four[i]);
            }
        });
        l.beta_grad[o] += real(total);
      }
  });
}

}  // namespace
}  // namespace fedtiny
