// Pruned copies of convolution outputs: what lies between the forward and the backward pass. Every
// channel of a block keeps its `capacity` values furthest from the channel's mean and a bit per
// value that says which; a value left out reads as the mean. What a clamp lets through is kept
// apart, a bit each, so that the gradient passes where the forward pass did.
#pragma once
#include <limits>
#include <type_traits>

#include "norm.h"

namespace fedtiny {
namespace {

// A bit per lane of one position.
template <int L>
using LaneBits = std::conditional_t<(L > 8), uint16_t, uint8_t>;

// What comparing two vectors gives: all ones or 0 per lane.
template <int L>
using Mask = decltype(Vec<L>{} > Vec<L>{});

template <int L>
FT_INLINE unsigned bits_of(Mask<L> mask) {
  typedef int8_t Bytes __attribute__((vector_size(L)));
  const Bytes bytes = __builtin_convertvector(mask, Bytes);
  unsigned bits = 0;
  for (int lane = 0; lane < L; lane += 8) {
    uint64_t eight = 0;  // byte i keeps bit i only; the product adds all bytes up in the highest
    std::memcpy(&eight, reinterpret_cast<const char*>(&bytes) + lane, L < 8 ? L : 8);
    bits |= unsigned((eight & 0x8040201008040201u) * 0x0101010101010101u >> 56) << lane;
  }
  return bits;
}

template <int L>
FT_INLINE Mask<L> mask_of(unsigned bits) {
  Mask<L> mask{};
  for (int lane = 0; lane < L; ++lane) mask[lane] = -int(bits >> lane & 1u);
  return mask;
}

// One channel of one block.
template <int L>
struct Map {
  const real* z;
  real mean;
  int64_t positions;
  unsigned present;  // lanes that hold a sample

  FT_INLINE Vec<L> magnitude(int64_t p) const {
    const Vec<L> d = load<L>(z + p * L) - splat<L>(mean);
    return d < Vec<L>{} ? -d : d;
  }
  int64_t count_from(real least) const {  // magnitudes of at least this much
    const Mask<L> live = mask_of<L>(present);
    const Vec<L> bound = splat<L>(least);
    Mask<L> counts{};
    for (int64_t p = 0; p < positions; ++p) counts -= (magnitude(p) >= bound) & live;
    int64_t total = 0;
    for (int lane = 0; lane < L; ++lane) total += counts[lane];
    return total;
  }
};

struct Threshold {
  real at;       // what is larger is kept,
  int64_t ties;  // and of what equals it the first ones
};

// The threshold that keeps `keep` values, by bisection: magnitudes are ordered as their bits are.
template <int L>
Threshold find_threshold(const Map<L>& map, int64_t keep) {
  using Bits = std::conditional_t<sizeof(real) == 8, int64_t, int32_t>;
  const real infinity = std::numeric_limits<real>::infinity();
  const auto value = [](Bits bits) {
    real x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
  };
  Bits low = 0, high;  // at least `keep` values reach low, `reached` < keep reach high
  std::memcpy(&high, &infinity, sizeof(high));
  int64_t reached = 0;
  while (high - low > 1) {
    const Bits middle = low + (high - low) / 2;
    const int64_t count = map.count_from(value(middle));
    if (count == keep) return {value(middle), keep};
    if (count > keep) {
      low = middle;
    } else {
      high = middle;
      reached = count;
    }
  }
  return {value(low), keep - reached};
}

// A packed map: capacity values and one more, which branchless writing may touch, then the bits.
template <int L>
FT_INLINE int64_t packed_reals(int64_t capacity, int64_t positions) {
  const int64_t bits = positions * int64_t(sizeof(LaneBits<L>));
  return capacity + 1 + divide_up(bits, int64_t(sizeof(real)));
}

template <int L>
void prune_map(const Map<L>& map, int64_t capacity, real* values) {
  auto* bits = reinterpret_cast<LaneBits<L>*>(values + capacity + 1);
  const int64_t samples = __builtin_popcount(map.present);
  Threshold threshold = find_threshold<L>(map, smaller(capacity, map.positions * samples));
  for (int64_t p = 0; p < map.positions; ++p) {
    const Vec<L> m = map.magnitude(p);
    unsigned kept = bits_of<L>(m > splat<L>(threshold.at)) & map.present;
    unsigned equal = bits_of<L>(m == splat<L>(threshold.at)) & map.present;
    for (; equal && threshold.ties > 0; equal &= equal - 1, --threshold.ties)
      kept |= equal & -equal;
    for (int lane = 0; lane < L; ++lane) {
      *values = map.z[p * L + lane];
      values += kept >> lane & 1u;
    }
    bits[p] = LaneBits<L>(kept);
  }
}

template <int L>
void expand_map(const real* values, int64_t capacity, int64_t positions, real mean, real* z) {
  const auto* bits = reinterpret_cast<const LaneBits<L>*>(values + capacity + 1);
  for (int64_t p = 0; p < positions; ++p) {
    const unsigned kept = bits[p];
    for (int lane = 0; lane < L; ++lane) {
      const unsigned here = kept >> lane & 1u;
      const real choice[2] = {mean, *values};  // a branch would be mispredicted half of the time
      z[p * L + lane] = choice[here];
      values += here;
    }
  }
}

// f(channel, map index, lanes that hold a sample) for every channel of every block.
template <int L, class F>
FT_INLINE void each_channel(const Op& op, const Run& run, const F& f) {
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c)
        f(c, block * op.channels + c, (1u << smaller(L, run.valid - block * L)) - 1);
  });
}

// op.out = the pruned copy of the layer's output op.input.
template <int L>
void run_prune(const Op& op, const Run& run) {
  const int64_t positions = op.height * op.width;
  const int64_t packed = packed_reals<L>(op.capacity, positions);
  each_channel<L>(op, run, [&](int64_t c, int64_t index, unsigned present) {
    const Map<L> map{op.input + index * positions * L, op.layer->mean[c], positions, present};
    prune_map<L>(map, op.capacity, op.out + index * packed);
  });
}

// op.out = the layer's output as its pruned copy op.input has it.
template <int L>
void run_expand(const Op& op, const Run& run) {
  const int64_t positions = op.height * op.width;
  const int64_t packed = packed_reals<L>(op.capacity, positions);
  each_channel<L>(op, run, [&](int64_t c, int64_t index, unsigned) {
    expand_map<L>(op.input + index * packed, op.capacity, positions, op.layer->mean[c],
                  op.out + index * positions * L);
  });
}

// The op reading one block alone, as block 0: pruned terms are expanded into their `data` first.
template <int L>
Op block_of(const Op& op, const Run& run, int64_t block) {
  Op one = op;
  const int64_t positions = op.height * op.width, map = positions * L;
  for (int64_t i = 0; i < op.terms; ++i) {
    Term& term = one.term[i];
    if (!term.packed) {
      with_numbers(term.data, term.narrow, [&](const auto* from) {
        term.data = reinterpret_cast<const real*>(from + block * op.channels * map);
      });
      continue;
    }
    const int64_t packed = packed_reals<L>(term.capacity, positions);
    const real* from = term.packed + block * op.channels * packed;
    parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t c = begin; c < end; ++c)
        expand_map<L>(from + c * packed, term.capacity, positions, term.mean[c],
                      const_cast<real*>(term.data) + c * map);
    });
  }
  return one;
}

// op.out = a bit for every value that its clamp, op.activation, lets through; terms: before it.
template <int L>
void run_gate(const Op& op, const Run& run) {
  const int64_t positions = op.height * op.width;
  each_channel<L>(op, run, [&](int64_t c, int64_t index, unsigned) {
    real row[kPiece];
    auto* bits = reinterpret_cast<LaneBits<L>*>(op.out) + index * positions;
    for (int64_t p = 0; p < positions; p += kPiece / L) {
      const int64_t part = smaller(kPiece / L, positions - p);
      read_row(op, c, (index * positions + p) * L, row, part * L);
      with_activation(op.activation, [&](auto code) {
        for (int64_t k = 0; k < part; ++k) {
          const Mask<L> open = passes<decltype(code)::value>(load<L>(row + k * L));
          bits[p + k] = LaneBits<L>(bits_of<L>(open));
        }
      });
    }
  });
}

// The gradient op.out becomes 0 where the bit in op.input is 0.
template <int L>
void run_gate_grad(const Op& op, const Run& run) {
  const int64_t positions = op.height * op.width;
  each_channel<L>(op, run, [&](int64_t, int64_t index, unsigned) {
    const auto* bits = reinterpret_cast<const LaneBits<L>*>(op.input) + index * positions;
    with_numbers(op.out, op.narrow_out, [&](auto* map) {
      auto* grad = map + index * positions * L;
      for (int64_t p = 0; p < positions; ++p)
        store<L>(grad + p * L, mask_of<L>(bits[p]) ? load<L>(grad + p * L) : Vec<L>{});
    });
  });
}

}  // namespace
}  // namespace fedtiny
