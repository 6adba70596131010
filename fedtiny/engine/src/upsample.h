// Nearest-neighbour upsampling, forward and backward: row y of the result is row y * height /
// out_height of the map, rounded down, and columns likewise.
#pragma once
#include "rows.h"

namespace fedtiny {
namespace {

template <int L>
void run_upsample(const Op& op, const Run& run) {
  const int64_t line = op.width * L, out_line = op.out_width * L;
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t thread) {
    real* row = op.scratch + thread * line;
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) {
        const int64_t map = block * op.channels + c;
        for (int64_t y = 0, read = -1; y < op.out_height; ++y) {
          const int64_t source = y * op.height / op.out_height;
          if (source != read) read_row(op, c, (map * op.height + source) * line, row, line);
          read = source;
          real* out = op.out + (map * op.out_height + y) * out_line;
          for (int64_t x = 0; x < op.out_width; ++x)
            std::memcpy(out + x * L, row + x * op.width / op.out_width * L, L * sizeof(real));
        }
      }
  });
}

template <int L, class Number>
void upsample_grad_map(const Op& op, const Number* dy, real* dx) {
  for (int64_t y = 0; y < op.out_height; ++y) {
    real* to = dx + y * op.height / op.out_height * op.width * L;
    for (int64_t x = 0; x < op.out_width; ++x, dy += L)
      add_to(to + x * op.width / op.out_width * L, load<L>(dy));
  }
}

// op.out (+)= the sum of op.input over all positions that read one.
template <int L>
void run_upsample_grad(const Op& op, const Run& run) {
  const int64_t line = op.width * L, n = op.height * line;
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t thread) {
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) {
        const int64_t map = block * op.channels + c;
        with_numbers(op.input, op.narrow_input, [&](const auto* gradient) {
          add_in_reals(op, map * n, n, op.scratch + thread * n, [&](real* dx) {
            upsample_grad_map<L>(op, gradient + map * op.out_height * op.out_width * L, dx);
          });
        });
      }
  });
}

}  // namespace
}  // namespace fedtiny
