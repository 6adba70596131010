// The extremes of a tensor, from which int8 quantization chooses its scale.
#pragma once
#include "rows.h"

namespace fedtiny {
namespace {

// op.out[0], op.out[1] = smallest and largest value of the tensor so far.
template <int L>
void run_range(const Op& op, const Run& run) {
  real row[1024];
  const int64_t map = op.height * op.width * L;
  for (int64_t block = 0; block < run.blocks; ++block)
    for (int64_t c = 0; c < op.channels; ++c)
      for (int64_t k = 0; k < map; k += 1024) {
        const int64_t part = smaller(1024, map - k);
        read_row(op, c, (block * op.channels + c) * map + k, row, part);
        for (int64_t i = 0; i < part; ++i) {
          if (block * L + i % L >= run.valid) continue;
          if (row[i] < op.out[0]) op.out[0] = row[i];
          if (row[i] > op.out[1]) op.out[1] = row[i];
        }
      }
}

}  // namespace
}  // namespace fedtiny
