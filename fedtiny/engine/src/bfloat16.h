// bfloat16, the upper half of a float: maps and tiles of activations of 16 bits. And what is done to
// maps of either width.
#pragma once
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <cstring>
#include <type_traits>

#include "vec.h"

namespace fedtiny {
namespace {

struct Bfloat16 {
  uint16_t bits;
};

// The numbers at p as floats' bits, and floats' bits cut to numbers. What GCC 12 makes of the
// conversions is four and eight instructions, where AVX-512 has one and AVX2 two and three.
template <int N>
FT_INLINE Lanes<N, uint32_t> upper_halves_at(const Bfloat16* p) {
  const auto& at = *reinterpret_cast<const Lanes<N, uint16_t>*>(p);
#ifdef __AVX512BW__
  if constexpr (N == 16) {
    const Lanes<32, uint16_t> from = {0, 0, 1, 1, 2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,
                                      8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15};
    __m512i numbers;  // a cast of the half that is loaded would be one more instruction
    asm("vmovdqu32 %1, %t0" : "=v"(numbers) : "m"(at));
    return (Lanes<N, uint32_t>)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, (__m512i)from, numbers);
  }
#endif
#ifdef __AVX2__
  if constexpr (N == 8)
    return (Lanes<N, uint32_t>)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)at), 16);
#endif
  return __builtin_convertvector(at, Lanes<N, uint32_t>) << 16;
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
#ifdef __AVX2__
  if constexpr (N == 8) {
    const __m256i halves = _mm256_srli_epi32((__m256i)v, 16);  // packed by 128 bits, then joined
    const __m256i packed = _mm256_packus_epi32(halves, halves);
    return (Lanes<N, uint16_t>)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0b1000));
  }
#endif
  return __builtin_convertvector(v >> 16, Lanes<N, uint16_t>);
}

template <int N>
FT_INLINE Vec<N> reals(Lanes<N, uint32_t> bits) {
  return __builtin_convertvector((Lanes<N, float>)bits, Vec<N>);
}
template <int N>
FT_INLINE Lanes<N, uint32_t> float_bits(Vec<N> v) {
  return (Lanes<N, uint32_t>)__builtin_convertvector(v, Lanes<N, float>);
}
// The bits whose upper halves are the nearest bfloat16, of two the one further from 0; the NaNs that
// arithmetic makes stay NaNs.
template <int N>
FT_INLINE Lanes<N, uint32_t> nearest(Vec<N> v) {
  return float_bits<N>(v) + 0x8000;
}

template <int N>
FT_INLINE Vec<N> load(const Bfloat16* p) { return reals<N>(upper_halves_at<N>(p)); }
template <int N>
FT_INLINE void store(Bfloat16* p, Vec<N> v) {
  *reinterpret_cast<Lanes<N, uint16_t>*>(p) = upper_halves<N>(nearest<N>(v));
}

// f(pointer) with the type that the numbers of a map have in memory.
template <class F>
FT_INLINE void with_numbers(const void* map, bool narrow, const F& f) {
  if (narrow) f(static_cast<Bfloat16*>(const_cast<void*>(map)));
  else f(static_cast<real*>(const_cast<void*>(map)));
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

// f(sums) adds to n reals: those of op.out at `at`, or where that is bfloat16 those of `scratch`, which
// are rounded once, when all is added.
template <class F>
FT_INLINE void add_in_reals(const Op& op, int64_t at, int64_t n, real* scratch, const F& f) {
  with_numbers(op.out, op.narrow_out, [&](auto* map) {
    real* sums = scratch;
    if constexpr (std::is_same_v<decltype(map), real*>) sums = map + at;
    if (!op.accumulate) zero(sums, n);
    else if (op.narrow_out) copy(map + at, sums, n);
    f(sums);
    if (op.narrow_out) copy(sums, map + at, n);
  });
}

}  // namespace
}  // namespace fedtiny
