// Average and maximum over windows, forward and backward.
#pragma once
#include "rows.h"

namespace fedtiny {
namespace {

template <int L>
FT_INLINE void pool_window(const Op& op, const real* row, real* out, bool first) {
  for (int64_t x = 0; x < op.out_width; ++x)
    for (int64_t k = 0; k < op.kernel_w; ++k) {
      const real* from = row + (x * op.stride_w + k) * L;
      real* to = out + x * L;
      for (int lane = 0; lane < L; ++lane) {
        if (first && k == 0) to[lane] = from[lane];
        else if (op.is_max) to[lane] = from[lane] <= to[lane] ? to[lane] : from[lane];
        else to[lane] += from[lane];
      }
    }
}

template <int L>
void run_pool(const Op& op, const Run& run) {
  const int64_t line = op.width * L, out_line = op.out_width * L;
  const real share = real(1) / real(op.kernel_h * op.kernel_w);
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t thread) {
    real* row = op.scratch + thread * op.kernel_h * line;
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) {
        const int64_t map = block * op.channels + c;
        for (int64_t y = 0; y < op.out_height; ++y) {
          real* out = op.out + (map * op.out_height + y) * out_line;
          for (int64_t k = 0; k < op.kernel_h; ++k) {
            read_row(op, c, (map * op.height + y * op.stride_h + k) * line, row, line);
            pool_window<L>(op, row, out, k == 0);
          }
          if (!op.is_max)
            for (int64_t i = 0; i < out_line; ++i) out[i] *= share;
        }
      }
  });
}

// The gradient goes to the first maximum of the window in row-major order, as in PyTorch.
template <int L>
FT_INLINE void max_pool_window_grad(const Op& op, const real* rows, const real* dy, real* dx) {
  const int64_t line = op.width * L;
  for (int lane = 0; lane < L; ++lane) {
    int64_t best = lane;
    for (int64_t i = 0; i < op.kernel_h; ++i)
      for (int64_t j = 0; j < op.kernel_w; ++j) {
        const int64_t at = i * line + j * L + lane;
        if (rows[at] > rows[best]) best = at;
      }
    dx[best] += dy[lane];
  }
}

template <int L>
void pool_grad_map(const Op& op, int64_t c, int64_t map, real* rows) {
  const int64_t line = op.width * L, out_line = op.out_width * L;
  const real share = real(1) / real(op.kernel_h * op.kernel_w);
  real* dx = op.out + map * op.height * line;
  if (!op.accumulate) zero(dx, op.height * line);
  for (int64_t y = 0; y < op.out_height; ++y) {
    const real* dy = op.input + (map * op.out_height + y) * out_line;
    const int64_t top = y * op.stride_h;
    if (op.is_max) read_row(op, c, (map * op.height + top) * line, rows, op.kernel_h * line);
    for (int64_t x = 0; x < op.out_width; ++x) {
      real* corner = dx + top * line + x * op.stride_w * L;
      if (op.is_max) {
        max_pool_window_grad<L>(op, rows + x * op.stride_w * L, dy + x * L, corner);
        continue;
      }
      for (int64_t i = 0; i < op.kernel_h; ++i)
        for (int64_t j = 0; j < op.kernel_w; ++j)
          for (int lane = 0; lane < L; ++lane)
            corner[i * line + j * L + lane] += dy[x * L + lane] * share;
    }
  }
}

template <int L>
void run_pool_grad(const Op& op, const Run& run) {
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t thread) {
    real* rows = op.scratch + thread * op.kernel_h * op.width * L;
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c)
        pool_grad_map<L>(op, c, block * op.channels + c, rows);
  });
}

}  // namespace
}  // namespace fedtiny
