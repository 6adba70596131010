// What numbers are computed with: vectors, or twins where they are bfloat16 in memory. One load then
// brings two vectors of numbers: as words of 32 bits, the odd ones stand in the upper halves and the
// even ones a shift below, where vectors of their own would each be loaded and widened.
#pragma once
#include "bfloat16.h"
#include "nonlinear.h"

namespace fedtiny {
namespace {

// N numbers that lie together in memory: those at even places, and those at odd ones.
template <int N>
struct Twin {
  Vec<N / 2> even, odd;
};
template <int N>
FT_INLINE Twin<N> operator+(Twin<N> a, Twin<N> b) { return {a.even + b.even, a.odd + b.odd}; }
template <int N>
FT_INLINE Twin<N> operator-(Twin<N> a, Twin<N> b) { return {a.even - b.even, a.odd - b.odd}; }
template <int N>
FT_INLINE Twin<N> operator*(Twin<N> a, Twin<N> b) { return {a.even * b.even, a.odd * b.odd}; }

template <Activation A, int N>
FT_INLINE Twin<N> activate(Twin<N> v) {
  return {activate<A, N / 2>(v.even), activate<A, N / 2>(v.odd)};
}
template <Activation A, int N>
FT_INLINE Twin<N> pull_back(Twin<N> v, Twin<N> gradient) {
  return {pull_back<A>(v.even, gradient.even), pull_back<A>(v.odd, gradient.odd)};
}

template <int N, bool kTwin>
struct HeldOf {
  typedef Vec<N> type;
};
template <int N>
struct HeldOf<N, true> {
  typedef Twin<N> type;
};
// N numbers: at most twice as many as a register holds.
template <int N>
using Held = typename HeldOf<N, (N > kNative)>::type;

// The widest N for tiles of such numbers, and the next narrower one for blocks of L lanes.
template <class Number>
constexpr int kWidest = std::is_same_v<Number, real> ? kNative : 2 * kNative;
template <int N, int L>
constexpr int narrower = N > kNative && kNative > L ? kNative : L;

// Whether N numbers of several positions are held together where a row has so many. Half of the loads
// for twins begin in the middle of a cache line; short rows belong to many channels, whose window lies
// in the second-level cache, and there that takes longer than it saves.
template <int N>
constexpr bool shares(int64_t numbers) { return N <= kNative || numbers >= 12 * 16; }

// How many N are held in as many registers.
template <int N>
constexpr int held(int registers) {
  return N <= kNative ? registers : int(larger(1, registers / 2 - (FT_REGISTERS == 32 ? 0 : 1)));
}

template <int N>
FT_INLINE Held<N> all_of(real x) {
  if constexpr (N > kNative) return {splat<N / 2>(x), splat<N / 2>(x)};
  else return splat<N>(x);
}

// Both registers' numbers added, place by place.
template <int N>
FT_INLINE auto joined(Held<N> v) {
  if constexpr (N > kNative) return v.even + v.odd;
  else return v;
}

template <int N, std::size_t... I>
FT_INLINE Twin<N> separated(Vec<N / 2> a, Vec<N / 2> b, std::index_sequence<I...>) {
  return {__builtin_shufflevector(a, b, (2 * I)...), __builtin_shufflevector(a, b, (2 * I + 1)...)};
}
template <int N, int First, std::size_t... I>
FT_INLINE Vec<N / 2> in_order(Twin<N> v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v.even, v.odd, ((First + I) / 2 + (I % 2) * (N / 2))...);
}

template <int N>
FT_INLINE Held<N> take(const real* p) {
  if constexpr (N <= kNative) return load<N>(p);
  else return separated<N>(load<N / 2>(p), load<N / 2>(p + N / 2), std::make_index_sequence<N / 2>{});
}
template <int N>
FT_INLINE Held<N> take(const Bfloat16* p) {
  if constexpr (N <= kNative) {
    return load<N>(p);
  } else {
    auto words = *reinterpret_cast<const Lanes<N / 2, uint32_t>*>(p);
    in_register(words);
    return {reals<N / 2>(words << 16), reals<N / 2>(words & 0xffff0000u)};
  }
}

// What a map of such numbers keeps of v.
template <int N>
FT_INLINE Vec<N> kept(const real*, Vec<N> v) { return v; }
template <int N>
FT_INLINE Vec<N> kept(const Bfloat16*, Vec<N> v) {
  return reals<N>(nearest<N>(v) & 0xffff0000u);
}
template <int N, class Number>
FT_INLINE Twin<N> kept(const Number* map, Twin<N> v) {
  return {kept<N / 2>(map, v.even), kept<N / 2>(map, v.odd)};
}

// Writes numbers that are as kept() returns them.
template <int N>
FT_INLINE void put(real* p, Held<N> v) {
  if constexpr (N <= kNative) {
    store<N>(p, v);
  } else {
    constexpr auto lanes = std::make_index_sequence<N / 2>{};
    store<N / 2>(p, in_order<N, 0>(v, lanes));
    store<N / 2>(p + N / 2, in_order<N, N / 2>(v, lanes));
  }
}
template <int N>
FT_INLINE void put(Bfloat16* p, Held<N> v) {
  if constexpr (N <= kNative) {
    *reinterpret_cast<Lanes<N, uint16_t>*>(p) = upper_halves<N>(float_bits<N>(v));
  } else {
    *reinterpret_cast<Lanes<N / 2, uint32_t>*>(p) =
        float_bits<N / 2>(v.even) >> 16 | float_bits<N / 2>(v.odd);
  }
}

template <int N, class Number>
FT_INLINE void round_to(Number* p, Held<N> v) { put<N>(p, kept<N>(p, v)); }

// for_vectors(), but twins first where all maps hold bfloat16.
template <class... Numbers, class F>
FT_INLINE void for_held(int64_t n, const F& f) {
  int64_t k = 0;
  if constexpr ((std::is_same_v<Numbers, Bfloat16> && ...))
    for (; k + 2 * kNative <= n; k += 2 * kNative) f(Width<2 * kNative>{}, k);
  for_vectors(n - k, [&](auto width, int64_t at) FT_INLINED { f(width, k + at); });
}

}  // namespace
}  // namespace fedtiny
