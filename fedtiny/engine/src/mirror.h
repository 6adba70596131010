// The shared structures and enums in words, for Python to compare with its own (engine/abi.py): a
// field as name:offset:bytes, a constant as name:value. The compiler refuses a field left out here.
#pragma once
#include <cstddef>
#include <string>

#include "engine.h"

namespace fedtiny {
namespace {

struct Entry {
  const char* name;
  std::size_t at;     // a field's offset, a constant's value
  std::size_t bytes;  // 0: a constant
};

// Whether the entries cover `end` bytes, or that many constants, without a gap.
template <std::size_t N>
constexpr bool complete(const Entry (&entries)[N], std::size_t end) {
  std::size_t next = 0;
  for (const Entry& entry : entries) {
    if (entry.at != next) return false;
    next += entry.bytes ? entry.bytes : 1;
  }
  return next == end;
}

#define FT_MIRROR(S) \
  static_assert(complete(k##S##Entries, sizeof(S)), #S " has fields that its mirror leaves out")

#define F(field) {#field, offsetof(Term, field), sizeof(Term::field)}
constexpr Entry kTermEntries[] = {F(data),      F(mean),     F(scale),  F(beta),
                                  F(activation), F(sum_activation), F(packed), F(capacity),
                                  F(narrow)};
FT_MIRROR(Term);
#undef F

#define F(field) {#field, offsetof(Layer, field), sizeof(Layer::field)}
constexpr Entry kLayerEntries[] = {
    F(in_channels),  F(in_height),     F(in_width),     F(out_channels), F(out_height),
    F(out_width),    F(kernel_h),      F(kernel_w),     F(stride_h),     F(stride_w),
    F(pad_h),        F(pad_w),         F(group_inputs), F(group_outputs), F(batch_norm),
    F(activation),   F(tile_rows),     F(grad_rows),    F(dense),        F(flat),
    F(start),        F(offset),        F(grad_start),   F(grad_offset),  F(grad_weight),
    F(values),       F(value_grads),   F(gamma),        F(beta),         F(gamma_grad),
    F(beta_grad),    F(running_mean),  F(running_var),  F(center),       F(mean),
    F(inverse_std),  F(scale)};
FT_MIRROR(Layer);
#undef F

#define F(field) {#field, offsetof(Op, field), sizeof(Op::field)}
constexpr Entry kOpEntries[] = {
    F(kind),         F(layer),         F(channels),    F(height),        F(width),
    F(out_height),   F(out_width),     F(kernel_h),    F(kernel_w),      F(stride_h),
    F(stride_w),     F(pad_h),         F(pad_w),       F(is_max),        F(terms),
    F(term),         F(input),
    F(out),          F(scratch),       F(sums),        F(weights),       F(accumulate),
    F(activation),   F(gated),         F(first_channel), F(last_channel), F(top_k),
    F(top_index),    F(top_count),     F(top_value),     F(capacity),     F(absent_offset),
    F(absent_grad),  F(finish),        F(narrow_input),  F(narrow_out),
    F(narrow_tile),     F(tile_bytes),   F(partial)};
FT_MIRROR(Op);
#undef F

#define F(field) {#field, offsetof(Run, field), sizeof(Run::field)}
constexpr Entry kRunEntries[] = {
    F(ops),         F(count),      F(lanes), F(valid),   F(blocks),  F(x),       F(y), F(training),
    F(bn_momentum), F(grad_scale), F(loss),  F(correct), F(seconds), F(threads), F(pool),
    F(parallel)};
FT_MIRROR(Run);
#undef F

#define F(field) {#field, offsetof(Sgd, field), sizeof(Sgd::field)}
constexpr Entry kSgdEntries[] = {F(values),        F(grads),           F(momentum),    F(count),
                                 F(learning_rate), F(momentum_factor), F(weight_decay)};
FT_MIRROR(Sgd);
#undef F

#define F(field) {#field, offsetof(Adam, field), sizeof(Adam::field)}
constexpr Entry kAdamEntries[] = {F(values), F(grads),      F(first),      F(second),
                                  F(count),  F(rate),       F(correction), F(keep_first),
                                  F(keep_second), F(epsilon), F(weight_decay)};
FT_MIRROR(Adam);
#undef F

#define C(constant) {#constant, constant, 0}
constexpr Entry kKindEntries[] = {
    C(kLoad),     C(kConv),     C(kConvAgain), C(kSum),   C(kPool),   C(kLoss),
    C(kNormGrad), C(kConvGrad), C(kMaskGrad),  C(kAddGrad), C(kPoolGrad),
    C(kRange),    C(kGrow),     C(kPrune),     C(kExpand), C(kGate),  C(kGateGrad),
    C(kBiasGrad), C(kUpsample), C(kUpsampleGrad)};
constexpr Entry kActivationEntries[] = {C(kNone), C(kRelu), C(kRelu6), C(kHardSwish)};
static_assert(complete(kActivationEntries, kActivations), "an activation has no mirror");
static_assert(complete(kKindEntries, kKinds), "a kind is missing from its mirror");
#undef C
#undef FT_MIRROR

template <std::size_t N>
std::string description(const char* name, const Entry (&entries)[N]) {
  std::string text = name;
  for (const Entry& entry : entries) {
    text += std::string(" ") + entry.name + ":" + std::to_string(entry.at);
    if (entry.bytes) text += ":" + std::to_string(entry.bytes);
  }
  return text;
}

// "NAME field:offset:bytes …" or "NAME constant:value …" of mirror i; null past the last.
inline const char* mirror(int64_t i) {
  static const std::string all[] = {
      description("Term", kTermEntries), description("Layer", kLayerEntries),
      description("Op", kOpEntries),     description("Run", kRunEntries),
      description("Sgd", kSgdEntries),   description("Adam", kAdamEntries),
      description("Kind", kKindEntries),
      description("Activation", kActivationEntries)};
  constexpr auto count = int64_t(sizeof(all) / sizeof(all[0]));
  return i >= 0 && i < count ? all[i].c_str() : nullptr;
}

}  // namespace
}  // namespace fedtiny
