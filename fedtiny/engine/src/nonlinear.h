// Activation functions and the way of a gradient back through them, by PyTorch's conventions: a
// clamp passes nothing where it limits; hard-swish is flat up to -3 and the identity from 3 on.
#pragma once
#include <type_traits>

#include "vec.h"

namespace fedtiny {
namespace {

// f(code) with a type whose value is the activation: inner loops never ask which it is.
template <class F>
FT_INLINE void with_activation(int64_t activation, const F& f) {
  switch (activation) {
    case kRelu: return f(std::integral_constant<Activation, kRelu>{});
    case kRelu6: return f(std::integral_constant<Activation, kRelu6>{});
    case kHardSwish: return f(std::integral_constant<Activation, kHardSwish>{});
    default: return f(std::integral_constant<Activation, kNone>{});
  }
}

// NaN passes through, as in PyTorch: the bounds replace what compares as outside.
template <Activation A, int N>
FT_INLINE Vec<N> activate(Vec<N> v) {
  const Vec<N> zero{}, six = splat<N>(6);
  if constexpr (A == kRelu) return zero > v ? zero : v;
  if constexpr (A == kRelu6) {
    const Vec<N> low = zero > v ? zero : v;
    return low > six ? six : low;
  }
  if constexpr (A == kHardSwish)
    return v * (activate<kRelu6, N>(v + splat<N>(3)) * splat<N>(real(1) / real(6)));
  return v;
}

// Where a clamp lets v, a vector or a number, through.
template <Activation A, class T>
FT_INLINE auto passes(T v) {
  if constexpr (A == kRelu6) return (v > T{}) & (v < real(6) - T{});
  else return v > T{};
}

// The gradient of the value v that the activation was applied to, given its result's.
template <Activation A, class T>
FT_INLINE T pull_back(T v, T gradient) {
  if constexpr (A == kNone) return gradient;
  if constexpr (A == kRelu || A == kRelu6) return passes<A>(v) ? gradient : T{};
  const T three = real(3) - T{}, slope = v * (real(1) / real(3)) + real(0.5);
  const T inner = v < three ? gradient * slope : gradient;
  return v > -three ? inner : T{};
}

}  // namespace
}  // namespace fedtiny
