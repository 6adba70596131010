// Vectors of N reals through GCC/Clang vector extensions, and loops over them.
#pragma once
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "engine.h"

namespace fedtiny {
namespace {

#ifndef FT_BYTES
#define FT_BYTES 16
#endif
#ifndef FT_REGISTERS
#if defined(__aarch64__) || FT_BYTES == 64
#define FT_REGISTERS 32
#else
#define FT_REGISTERS 16
#endif
#endif

#define FT_INLINE inline __attribute__((always_inline))
#define FT_INLINED __attribute__((always_inline))  // of a lambda: what it refers to stays in registers

constexpr int kNative = FT_BYTES / int(sizeof(real));
#ifndef FT_ACCUMULATORS
#define FT_ACCUMULATORS (FT_REGISTERS == 32 ? 28 : 14)
#endif
constexpr int kMaxAccumulators = FT_ACCUMULATORS;

template <int N>
struct VecOf {
  typedef real type __attribute__((vector_size(N * sizeof(real)), aligned(sizeof(real)), may_alias));
};
template <int N>
using Vec = typename VecOf<N>::type;

template <int N>
FT_INLINE Vec<N> load(const real* p) { return *reinterpret_cast<const Vec<N>*>(p); }
template <int N>
FT_INLINE void store(real* p, Vec<N> v) { *reinterpret_cast<Vec<N>*>(p) = v; }
template <int N>
FT_INLINE Vec<N> splat(real x) { return x - Vec<N>{}; }

// The upper half of a float, as maps of 16 bits keep it.
struct Bfloat16 {
  uint16_t bits;
};

template <int N, class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <int N, class T>
using Lanes = typename LanesOf<N, T>::type;

// The numbers' bits with 0 below them, and back. What GCC 12 makes of the conversions is four and
// eight instructions with AVX-512, where one will do.
template <int N>
FT_INLINE Lanes<N, uint32_t> as_upper_halves(Lanes<N, uint16_t> v) {
#ifdef __AVX512BW__
  if constexpr (N == 16) {
    const Lanes<32, uint16_t> from = {0, 0, 1, 1, 2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,
                                      8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15};
    const __m512i wide = _mm512_castsi256_si512((__m256i)v);
    return (Lanes<N, uint32_t>)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, (__m512i)from, wide);
  }
#endif
  return __builtin_convertvector(v, Lanes<N, uint32_t>) << 16;
}
template <int N>
FT_INLINE Lanes<N, uint16_t> upper_halves(Lanes<N, uint32_t> v) {
#ifdef __AVX512BW__
  if constexpr (N == 16) {
    const Lanes<32, uint16_t> odd = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
    return (Lanes<N, uint16_t>)_mm512_castsi512_si256(
        _mm512_permutexvar_epi16((__m512i)odd, (__m512i)v));
  }
#endif
  return __builtin_convertvector(v >> 16, Lanes<N, uint16_t>);
}

template <int N>
FT_INLINE Vec<N> load(const Bfloat16* p) {
  const auto bits = as_upper_halves<N>(*reinterpret_cast<const Lanes<N, uint16_t>*>(p));
  return __builtin_convertvector((Lanes<N, float>)bits, Vec<N>);
}
// To the nearest, of two to the one further from 0; the NaNs that arithmetic makes stay NaNs.
template <int N>
FT_INLINE void store(Bfloat16* p, Vec<N> v) {
  const auto bits = (Lanes<N, uint32_t>)__builtin_convertvector(v, Lanes<N, float>);
  *reinterpret_cast<Lanes<N, uint16_t>*>(p) = upper_halves<N>(bits + 0x8000);
}

// A row's address as something the compiler cannot split: else it keeps an offset for every vector of
// the row, on the stack, and adds it before each load.
template <class Number>
FT_INLINE Number* row_at(Number* p) {
  asm("" : "+r"(p));
  return p;
}

// f(pointer) with the type that the numbers of a map have in memory.
template <class F>
FT_INLINE void with_numbers(const void* map, bool narrow, const F& f) {
  if (narrow) f(static_cast<Bfloat16*>(const_cast<void*>(map)));
  else f(static_cast<real*>(const_cast<void*>(map)));
}

template <int N>
FT_INLINE double sum(Vec<N> v) {
  double total = 0;
  for (int i = 0; i < N; ++i) total += double(v[i]);
  return total;
}

template <int N>
struct Width {
  static constexpr int value = N;
};

// f(Width<N>, k) for k covering [0, n), widest vectors first; n is a multiple of 4.
template <class F>
FT_INLINE void for_vectors(int64_t n, const F& f) {
  int64_t k = 0;
  if constexpr (kNative >= 16) for (; k + 16 <= n; k += 16) f(Width<16>{}, k);
  if constexpr (kNative >= 8) for (; k + 8 <= n; k += 8) f(Width<8>{}, k);
  if constexpr (kNative >= 4) for (; k + 4 <= n; k += 4) f(Width<4>{}, k);
  if constexpr (kNative < 4) for (; k < n; k += 2) f(Width<2>{}, k);
}

template <class Number>
FT_INLINE void zero(Number* to, int64_t n) {
  for_vectors(n, [=](auto width, int64_t k) {
    constexpr int N = decltype(width)::value;
    store<N>(to + k, Vec<N>{});
  });
}

// to[0..n) = from[0..n), reals or bfloat16; n is a multiple of 4.
template <class From, class To>
FT_INLINE void copy(const From* from, To* to, int64_t n) {
  if constexpr (std::is_same_v<From, To>) {
    std::memcpy(to, from, size_t(n) * sizeof(To));
    return;
  }
  for_vectors(n, [=](auto width, int64_t k) {
    constexpr int N = decltype(width)::value;
    store<N>(to + k, load<N>(from + k));
  });
}

// sum(a) in the first half of the lanes, sum(b) in the second, each over half as many lanes.
template <int N, std::size_t... I>
FT_INLINE Vec<N> pairwise(Vec<N> a, Vec<N> b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
}

// Lane i < G of the result is the sum of v[i]; G a power of two, at most N.
template <int N, int G>
FT_INLINE Vec<N> sum_each(Vec<N>* v) {
  constexpr auto lanes = std::make_index_sequence<N>{};
  for (int width = G; width > 1; width /= 2)
    for (int i = 0; i < width / 2; ++i) v[i] = pairwise<N>(v[2 * i], v[2 * i + 1], lanes);
  for (int part = N / G; part > 1; part /= 2) v[0] = pairwise<N>(v[0], v[0], lanes);
  return v[0];
}

template <class F>
void call(const void* argument, int64_t begin, int64_t end, int64_t thread) {
  (*static_cast<const F*>(argument))(begin, end, thread);
}

// f(begin, end, thread) over disjoint ranges covering [0, count): results never depend on the split.
template <class F>
FT_INLINE void parallel(const Run& run, int64_t count, const F& f) {
  if (run.threads <= 1) {
    f(int64_t(0), count, int64_t(0));
  } else {
    run.parallel(run.pool, count, &call<F>, &f);
  }
}

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace
}  // namespace fedtiny
