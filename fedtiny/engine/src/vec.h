// Vectors of N reals through GCC/Clang vector extensions, and loops over them.
#pragma once
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

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

template <int N, class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <int N, class T>
using Lanes = typename LanesOf<N, T>::type;
template <int N>
using Vec = Lanes<N, real>;

template <int N>
FT_INLINE Vec<N> load(const real* p) { return *reinterpret_cast<const Vec<N>*>(p); }
template <int N>
FT_INLINE void store(real* p, Vec<N> v) { *reinterpret_cast<Vec<N>*>(p) = v; }
template <class V>
FT_INLINE void add_to(real* p, V v) {
  constexpr int N = sizeof(V) / sizeof(real);
  store<N>(p, load<N>(p) + v);
}
template <int N>
FT_INLINE Vec<N> splat(real x) { return x - Vec<N>{}; }

// A row's address as something the compiler cannot split: else it keeps an offset for every vector of
// the row, on the stack, and adds it before each load.
template <class Number>
FT_INLINE Number* row_at(Number* p) {
  asm("" : "+r"(p));
  return p;
}

// Keeps the compiler from reading `v` from memory once more for each use.
template <class V>
FT_INLINE void in_register(V& v) {
#if defined(__SSE2__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
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

// sum(a) in the first half of the lanes, sum(b) in the second, each over half as many lanes.
template <int N, std::size_t... I>
FT_INLINE Vec<N> pairwise(Vec<N> a, Vec<N> b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
}

// Lane i < G of the result is the sum of v[i]; G a power of two, at most N. Half by half, so that few
// sums are on their way at a time and none waits in memory.
template <int N, int G>
FT_INLINE Vec<N> halves_summed(const Vec<N>* v) {
  if constexpr (G == 1) return v[0];
  else return pairwise<N>(halves_summed<N, G / 2>(v), halves_summed<N, G / 2>(v + G / 2),
                          std::make_index_sequence<N>{});
}
template <int N, int G>
FT_INLINE Vec<N> sum_each(const Vec<N>* v) {
  Vec<N> sums = halves_summed<N, G>(v);
  for (int part = N / G; part > 1; part /= 2)
    sums = pairwise<N>(sums, sums, std::make_index_sequence<N>{});
  return sums;
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
