// Average and maximum over windows, forward and backward.
#pragma once
#include "rows.h"

namespace fedtiny {
namespace {

// The part of a window that lies inside the map, along one axis.
struct Span {
  int64_t first, last;
  Span(int64_t at, int64_t kernel, int64_t stride, int64_t pad, int64_t size)
      : first(larger(0, at * stride - pad)), last(smaller(at * stride - pad + kernel, size)) {}
  int64_t count() const { return last - first; }
};

inline Span rows_of(const Op& op, int64_t y) {
  return Span(y, op.kernel_h, op.stride_h, op.pad_h, op.height);
}
inline Span columns_of(const Op& op, int64_t x) {
  return Span(x, op.kernel_w, op.stride_w, op.pad_w, op.width);
}

template <int L>
FT_INLINE void pool_window(const Op& op, const real* row, real* out, bool first) {
  for (int64_t x = 0; x < op.out_width; ++x) {
    const Span columns = columns_of(op, x);
    int64_t k = columns.first;
    if (k >= columns.last) continue;
    Vec<L> value = first ? load<L>(row + k++ * L) : load<L>(out + x * L);
    for (; k < columns.last; ++k) {
      const Vec<L> next = load<L>(row + k * L);
      if (op.is_max) value = next <= value ? value : next;
      else value += next;
    }
    store<L>(out + x * L, value);
  }
}

inline real share_of(const Span& rows, const Span& columns) {
  return real(1) / real(rows.count() * columns.count());
}

template <int L>
void run_pool(const Op& op, const Run& run) {
  const int64_t line = op.width * L, out_line = op.out_width * L;
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t thread) {
    real* row = op.scratch + thread * op.kernel_h * line;
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) {
        const int64_t map = block * op.channels + c;
        for (int64_t y = 0; y < op.out_height; ++y) {
          real* out = op.out + (map * op.out_height + y) * out_line;
          const Span rows = rows_of(op, y);
          for (int64_t k = rows.first; k < rows.last; ++k) {
            read_row(op, c, (map * op.height + k) * line, row, line);
            pool_window<L>(op, row, out, k == rows.first);
          }
          if (op.is_max) continue;
          for (int64_t x = 0; x < op.out_width; ++x) {
            const real share = share_of(rows, columns_of(op, x));
            store<L>(out + x * L, load<L>(out + x * L) * splat<L>(share));
          }
        }
      }
  });
}

// The gradient goes to the first maximum of the window in row-major order, as in PyTorch.
template <int L>
FT_INLINE void max_pool_window_grad(int64_t line, int64_t height, int64_t width, const real* rows,
                                    Vec<L> dy, real* dx) {
  for (int lane = 0; lane < L; ++lane) {
    int64_t best = lane;
    for (int64_t i = 0; i < height; ++i)
      for (int64_t j = 0; j < width; ++j) {
        const int64_t at = i * line + j * L + lane;
        if (rows[at] > rows[best]) best = at;
      }
    dx[best] += dy[lane];
  }
}

template <int L, class Number>
void pool_grad_map(const Op& op, int64_t c, int64_t map, const Number* gradient, real* rows, real* dx) {
  const int64_t line = op.width * L, out_line = op.out_width * L;
  for (int64_t y = 0; y < op.out_height; ++y) {
    const Number* dy = gradient + (map * op.out_height + y) * out_line;
    const Span high = rows_of(op, y);
    if (op.is_max) read_row(op, c, (map * op.height + high.first) * line, rows, high.count() * line);
    for (int64_t x = 0; x < op.out_width; ++x) {
      const Span wide = columns_of(op, x);
      real* corner = dx + high.first * line + wide.first * L;
      if (op.is_max) {
        max_pool_window_grad<L>(line, high.count(), wide.count(), rows + wide.first * L,
                                load<L>(dy + x * L), corner);
        continue;
      }
      const Vec<L> part = load<L>(dy + x * L) * splat<L>(share_of(high, wide));
      for (int64_t i = 0; i < high.count(); ++i)
        for (int64_t j = 0; j < wide.count(); ++j) {
          real* to = corner + i * line + j * L;
          store<L>(to, load<L>(to) + part);
        }
    }
  }
}

template <int L>
void run_pool_grad(const Op& op, const Run& run) {
  parallel(run, op.channels, [&](int64_t begin, int64_t end, int64_t thread) {
    const int64_t line = op.width * L, map_rows = op.narrow_out ? op.height : 0;
    real* rows = op.scratch + thread * (op.kernel_h + map_rows) * line;
    for (int64_t block = 0; block < run.blocks; ++block)
      for (int64_t c = begin; c < end; ++c) {
        const int64_t map = block * op.channels + c, n = op.height * line;
        with_numbers(op.input, op.narrow_input, [&](const auto* gradient) {
          add_in_reals(op, map * n, n, rows + op.kernel_h * line, [&](real* dx) {
            pool_grad_map<L>(op, c, map, gradient, rows, dx);
          });
        });
      }
  });
}

}  // namespace
}  // namespace fedtiny
