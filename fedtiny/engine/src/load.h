// The batch, as Python lays it out, into blocks of lanes.
#pragma once
#include "bfloat16.h"

namespace fedtiny {
namespace {

// (valid, C, H, W) -> blocks of lanes; lanes past the last sample are 0.
template <int L>
void run_load(const Op& op, const Run& run) {
  const int64_t map = op.height * op.width, sample = op.channels * map;
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) {
        real* to = op.out + (block * op.channels + c) * map * L;
        const int64_t lanes = smaller(L, run.valid - block * L);
        if (lanes < L) zero(to, map * L);
        const real* from = run.x + block * L * sample + c * map;
        for (int64_t k = 0; k < map; ++k)
          for (int64_t lane = 0; lane < lanes; ++lane) to[k * L + lane] = from[lane * sample + k];
      }
  });
}

}  // namespace
}  // namespace fedtiny
