// Convolution forward and backward over tiles: fill a padded tile, then sweep it.
#pragma once
#include "activations.h"
#include "dense.h"

namespace fedtiny {
namespace {

template <int L, class Number>
Gather<Number> forward_task(const Op& op, const InputTile& tile, const Number* scratch,
                            int64_t block, int64_t row) {
  const Layer& l = *op.layer;
  const int64_t map = l.out_height * l.out_width * L;
  Gather<Number> g{};
  g.in = scratch;
  g.in_row = tile.columns * L;
  g.out = op.out;
  g.narrow = op.narrow_out;
  g.out_at = block * l.out_channels * map + row * l.out_width * L;
  g.out_channel = map;
  g.out_row = l.out_width * L;
  g.out_step = L;
  g.start = l.start;
  g.start_stride = 1;
  g.offset = l.offset;
  g.value_stride = row_weights(l);
  g.center = l.batch_norm ? l.center : nullptr;
  g.bias = l.batch_norm ? nullptr : l.beta;
  return g;
}

// f(first, last) over channels whose lists together stay in the first-level cache, so that sweeping
// one register tile after the other reads neither the lists nor the tile from further away.
template <class F>
FT_INLINE void each_group(const int32_t* start, int64_t stride, int64_t begin, int64_t end,
                          const F& f) {
  constexpr int32_t kGroup = 2048;
  for (int64_t first = begin, last; first < end; first = last) {
    last = first + 1;
    while (last < end && start[(last + 1) * stride] - start[first * stride] <= kGroup) ++last;
    f(first, last);
  }
}

// The products of a flat layer, a tile of blocks at a time: out (+)= values * in.
template <int L>
void gather_blocks(const Op& op, const Run& run, const Gather<real>& g, int64_t channels,
                   int64_t count) {
  const Layer& l = *op.layer;
  parallel(run, channels, [&](int64_t begin, int64_t end, int64_t) {
    Gather<real> own = g;
    own.first = begin;
    own.last = end;
    if (l.dense) return gather_dense<L>(own, 0, int32_t(own.value_stride), 1, count);
    each_group(g.start, 1, begin, end, [&](int64_t first, int64_t last) {
      own.first = first;
      own.last = last;
      gather<L>(own, 1, count);
    });
  });
}

template <int L>
void run_flat(const Op& op, const Run& run, const real* values) {
  const Layer& l = *op.layer;
  const InputTile tile(l, L);
  for (int64_t block = 0; block < run.blocks; block += l.tile_rows) {
    const int64_t count = smaller(l.tile_rows, run.blocks - block);
    parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t c = begin; c < end; ++c) fill_blocks<L>(op, tile, block, count, c);
    });
    Gather<real> g = forward_task<L>(op, tile, op.scratch, block, 0);
    g.value = values;
    g.out_step = l.out_channels * L;
    gather_blocks<L>(op, run, g, l.out_channels, count);
  }
}

// All outputs, a tile of rows at a time; fused: with their statistics.
template <int L, class Number>
void run_tiles(const Op& op, const Run& run, const real* values, bool fused, Number* scratch) {
  const Layer& l = *op.layer;
  const InputTile tile(l, L);
  for (int64_t block = 0; block < run.blocks; ++block)
    for (int64_t row = 0; row < l.out_height; row += l.tile_rows) {
      const int64_t rows = smaller(l.tile_rows, l.out_height - row);
      parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t c = begin; c < end; ++c) fill_input<L>(op, tile, scratch, block, row, rows, c);
      });
      parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
        Gather<Number> g = forward_task<L>(op, tile, scratch, block, row);
        g.value = values;
        g.sums = fused ? op.sums : nullptr;
        if (l.dense) {
          g.first = begin;
          g.last = end;
          gather_dense<L>(g, 0, int32_t(row_weights(l)), rows, l.out_width);
          return;
        }
        each_group(l.start, 1, begin, end, [&](int64_t first, int64_t last) {
          g.first = first;
          g.last = last;
          gather<L>(g, rows, l.out_width);
        });
      });
    }
}

template <int L>
void run_conv(const Op& op, const Run& run) {
  const Layer& l = *op.layer;
  const bool statistics = l.batch_norm && op.kind == kConv && run.training;
  const bool fused = statistics && run.valid % L == 0;  // else padded lanes would be counted
  if (l.batch_norm && op.kind == kConv) set_center(l);
  if (fused) zero(op.sums, l.out_channels * 32);
  const real* values = op.weights ? scatter(op, run, l.values) : l.values;
  if (is_flat(l)) return run_flat<L>(op, run, values);
  with_numbers(op.scratch, op.narrow_tile, [&](auto* scratch) {
    run_tiles<L>(op, run, values, fused, scratch);
  });
  if (statistics) {
    set_batch_statistics<L>(op, run, fused);
  } else if (l.batch_norm && op.kind == kConv) {
    set_running_coefficients(l);
  }
}

// Adds one block's weight gradients, op.input being the gradient of the layer's output.
template <int L, class Number>
void add_weight_grad(const Op& op, const Run& run, int64_t block, real* grads, Number* scratch) {
  const Layer& l = *op.layer;
  const InputTile tile(l, L);
  const Op input = block_of<L>(op, run, block);
  const int64_t map = l.out_height * l.out_width * L;
  for (int64_t row = 0; row < l.out_height; row += l.tile_rows) {
    const int64_t rows = smaller(l.tile_rows, l.out_height - row);
    parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t c = begin; c < end; ++c) fill_input<L>(input, tile, scratch, 0, row, rows, c);
    });
    parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
      Dot<Number> d{};
      d.in = scratch;
      d.in_row = tile.columns * L;
      d.grad = op.input;
      d.narrow = op.narrow_input;
      d.grad_at = block * l.out_channels * map + row * l.out_width * L;
      d.grad_channel = map;
      d.grad_row = l.out_width * L;
      d.start = l.start;
      d.start_stride = 1;
      d.offset = l.offset;
      d.out = grads;
      if (l.dense) {
        d.out_stride = row_weights(l);
        d.first = begin;
        d.last = end;
        dot_dense<L>(d, int32_t(row_weights(l)), rows, l.out_width);
        return;
      }
      each_group(l.start, 1, begin, end, [&](int64_t first, int64_t last) {
        d.first = first;
        d.last = last;
        dot<L>(d, rows, l.out_width);
      });
    });
  }
}

// Input gradient of one phase (r, s) of the stride, rows u in [row, row + rows).
template <int L, class Number>
void gather_phase(const Op& op, const GradTile& tile, Gather<Number> g, int64_t block, int64_t row,
                  int64_t rows, int64_t r, int64_t s) {
  const Layer& l = *op.layer;
  auto first = [](int64_t pad, int64_t phase, int64_t stride) {
    return phase >= pad ? int64_t(0) : divide_up(pad - phase, stride);
  };
  auto last = [](int64_t size, int64_t pad, int64_t phase, int64_t stride) {
    const int64_t room = size + pad - phase;
    return room > 0 ? divide_up(room, stride) : int64_t(0);
  };
  const int64_t u0 = larger(row, first(l.pad_h, r, l.stride_h));
  const int64_t u1 = smaller(row + rows, last(l.in_height, l.pad_h, r, l.stride_h));
  const int64_t v0 = first(l.pad_w, s, l.stride_w);
  const int64_t v1 = last(l.in_width, l.pad_w, s, l.stride_w);
  if (u1 <= u0 || v1 <= v0) return;
  const int64_t map = l.in_height * l.in_width * L, phases = l.stride_h * l.stride_w;
  const int64_t y = u0 * l.stride_h + r - l.pad_h, x = v0 * l.stride_w + s - l.pad_w;
  g.in += ((u0 - row) * tile.columns + v0 - tile.first_v) * L;
  g.in_row = tile.columns * L;
  g.out = op.out;
  g.narrow = op.narrow_out;
  g.out_at = block * l.in_channels * map + (y * l.in_width + x) * L;
  g.out_channel = map;
  g.out_row = l.stride_h * l.in_width * L;
  g.out_step = l.stride_w * L;
  g.start = l.grad_start + r * l.stride_w + s;
  if (l.dense) {
    gather_dense<L>(g, g.start[0], g.start[1], u1 - u0, v1 - v0);
    return;
  }
  g.start_stride = phases;
  gather<L>(g, u1 - u0, v1 - v0);
}

// One block's input gradient into op.out; op.sums holds the values in the transposed order.
template <int L, class Number>
void add_input_grad(const Op& op, const Run& run, int64_t block, Number* scratch) {
  const Layer& l = *op.layer;
  const GradTile tile(l, L);
  for (int64_t row = tile.first_u; row < tile.last_u; row += l.grad_rows) {
    const int64_t rows = smaller(l.grad_rows, tile.last_u - row);
    parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t o = begin; o < end; ++o)
        if (l.dense || l.start[o] != l.start[o + 1])
          fill_gradient<L>(op, tile, scratch, block, row, rows, o);
    });
    parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
      Gather<Number> g{};
      g.in = scratch;
      g.offset = l.grad_offset;
      g.value = op.sums;
      g.value_stride = l.out_channels * l.kernel_h * l.kernel_w;
      g.accumulate = op.accumulate;
      const int64_t phases = l.stride_h * l.stride_w;
      auto sweep = [&](int64_t first, int64_t last) {
        g.first = first;
        g.last = last;
        for (int64_t r = 0; r < l.stride_h; ++r)
          for (int64_t s = 0; s < l.stride_w; ++s)
            gather_phase<L>(op, tile, g, block, row, rows, r, s);
      };
      if (l.dense) sweep(begin, end);
      else each_group(l.grad_start, phases, begin, end, sweep);
    });
  }
}

// A flat layer's weight gradients of `count` blocks, summed block after block as elsewhere.
template <int L>
void add_flat_weight_grad(const Op& op, const Run& run, int64_t block, int64_t count, real* grads) {
  const Layer& l = *op.layer;
  const InputTile tile(l, L);
  parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t c = begin; c < end; ++c) fill_blocks<L>(op, tile, block, count, c);
  });
  parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
    Dot<real> d{};
    d.grad_channel = L;
    d.start = l.start;
    d.start_stride = 1;
    d.offset = l.offset;
    d.out = grads;
    d.out_stride = l.dense ? row_weights(l) : 0;
    auto sweep = [&](int64_t first, int64_t last) {
      d.first = first;
      d.last = last;
      for (int64_t b = 0; b < count; ++b) {
        d.in = op.scratch + b * L;
        d.grad = op.input;
        d.grad_at = (block + b) * l.out_channels * L;
        if (l.dense) dot_dense<L>(d, int32_t(row_weights(l)), 1, 1);
        else dot<L>(d, 1, 1);
      }
    };
    if (l.dense) sweep(begin, end);
    else each_group(l.start, 1, begin, end, sweep);
  });
}

// A flat layer's input gradients of `count` blocks.
template <int L>
void add_flat_input_grad(const Op& op, const Run& run, int64_t block, int64_t count) {
  const Layer& l = *op.layer;
  const GradTile tile(l, L);
  parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t b = 0; b < count; ++b)
        std::memcpy(op.scratch + (o * tile.plane + b) * L,
                    op.input + ((block + b) * l.out_channels + o) * L, L * sizeof(real));
  });
  Gather<real> g{};
  g.in = op.scratch;
  g.out = op.out;
  g.narrow = op.narrow_out;
  g.out_at = block * l.in_channels * L;
  g.out_channel = L;
  g.out_step = l.in_channels * L;
  g.start = l.grad_start;
  g.start_stride = 1;
  g.offset = l.grad_offset;
  g.value = op.sums;
  g.value_stride = l.out_channels;
  g.accumulate = op.accumulate;
  gather_blocks<L>(op, run, g, l.in_channels, count);
}

// Weight gradient (unless only the input's is wanted) and input gradient (if op.out is given), block
// by block so that the output's gradient is still near when it is read again.
template <int L>
void run_conv_grad(const Op& op, const Run& run) {
  const Layer& l = *op.layer;
  if (op.out && l.dense) {
    transpose(op, run, op.weights ? scatter(op, run, l.values) : l.values);
  } else if (op.out) {
    parallel(run, l.start[l.out_channels], [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) op.sums[i] = l.values[l.grad_weight[i]];
    });
  }
  real* grads = op.terms && op.weights ? scatter(op, run, l.value_grads) : l.value_grads;
  const int64_t step = is_flat(l) ? smaller(l.tile_rows, l.grad_rows) : 1;
  for (int64_t block = 0; block < run.blocks; block += step) {
    const int64_t count = smaller(step, run.blocks - block);
    if (is_flat(l)) {
      if (op.terms) add_flat_weight_grad<L>(op, run, block, count, grads);
      if (op.out) add_flat_input_grad<L>(op, run, block, count);
      continue;
    }
    with_numbers(op.scratch, op.narrow_tile, [&](auto* scratch) {
      if (op.terms) add_weight_grad<L>(op, run, block, grads, scratch);
      if (op.out) add_input_grad<L>(op, run, block, scratch);
    });
  }
  if (op.terms && op.weights)
    parallel(run, l.start[l.out_channels], [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) l.value_grads[i] = grads[l.flat[i]];
    });
}

}  // namespace
}  // namespace fedtiny
