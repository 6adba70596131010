// All kernels for one instruction set. Compiled once per set with its flags; FT_ENTRY names the
// exported functions. Everything else has internal linkage, so no function of a wider set can be
// merged into a narrower one.
#include <ctime>

#include "adam.h"
#include "growth.h"
#include "load.h"
#include "loss.h"
#include "pool.h"
#include "range.h"
#include "sgd.h"
#include "sums.h"
#include "upsample.h"

namespace fedtiny {
namespace {

template <int L>
void run_op(const Op& op, const Run& run) {
  switch (op.kind) {
    case kLoad: return run_load<L>(op, run);
    case kConv:
    case kConvAgain: return run_conv<L>(op, run);
    case kSum: return run_sum<L>(op, run);
    case kPool: return run_pool<L>(op, run);
    case kLoss: return run_loss<L>(op, run);
    case kNormGrad: return run_norm_grad(op, run);
    case kConvGrad: return run_conv_grad<L>(op, run);
    case kMaskGrad: return run_mask_grad<L>(op, run);
    case kAddGrad: return run_add_grad<L>(op, run);
    case kPoolGrad: return run_pool_grad<L>(op, run);
    case kRange: return run_range<L>(op, run);
    case kGrow: return run_grow<L>(op, run);
    case kPrune: return run_prune<L>(op, run);
    case kExpand: return run_expand<L>(op, run);
    case kGate: return run_gate<L>(op, run);
    case kGateGrad: return run_gate_grad<L>(op, run);
    case kBiasGrad: return run_bias_grad(op, run);
    case kUpsample: return run_upsample<L>(op, run);
    case kUpsampleGrad: return run_upsample_grad<L>(op, run);
  }
}

inline double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

template <int L>
void run_all(const Run& run) {
  for (int64_t i = 0; i < run.count; ++i) {
    const double begin = run.seconds ? now() : 0.0;
    run_op<L>(run.ops[i], run);
    if (run.seconds) run.seconds[i] += now() - begin;
  }
}

}  // namespace
}  // namespace fedtiny

#define FT_JOIN2(a, b) a##b
#define FT_JOIN(a, b) FT_JOIN2(a, b)

extern "C" void FT_JOIN(fedtiny_run_, FT_ENTRY)(const fedtiny::Run* run) {
  if (run->lanes == 16) fedtiny::run_all<16>(*run);
  else if (run->lanes == 8) fedtiny::run_all<8>(*run);
  else fedtiny::run_all<4>(*run);
}

extern "C" void FT_JOIN(fedtiny_sgd_, FT_ENTRY)(const fedtiny::Sgd* sgd) { fedtiny::run_sgd(*sgd); }

extern "C" void FT_JOIN(fedtiny_adam_, FT_ENTRY)(const fedtiny::Adam* adam) {
  fedtiny::run_adam(*adam);
}
