// A convolution's gradients, over tiles as the convolution itself: of its weights from the padded tile
// of its input, of its input from that of its output's gradient.
#pragma once
#include "conv.h"

namespace fedtiny {
namespace {

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

// Adds the sums of one block's weight gradients.
inline void add_sums_of_block(const Op& op, const Run& run, const real* sums) {
  const Layer& l = *op.layer;
  parallel(run, l.start[l.out_channels], [&](int64_t begin, int64_t end, int64_t) {
    if (op.weights)
      for (int64_t i = begin; i < end; ++i) l.value_grads[i] += sums[l.flat[i]];
    else
      for (int64_t i = begin; i < end; ++i) l.value_grads[i] += sums[i];
  });
}

// Both gradients of a layer of several blocks, block by block so that the output's gradient is still
// near when it is read again. A block's weight gradients are summed apart and then added in the order
// of the blocks: to the same bits, whoever summed them.
template <int L>
void add_conv_grads(const Op& op, const Run& run) {
  const Layer& l = *op.layer;
  const int64_t count = op.weights ? l.out_channels * row_weights(l) : l.start[l.out_channels];
  const bool own_tiles = op.tile_bytes != 0;
  each_block(op, run, [&](const Run& own, int64_t block, int64_t thread) {
    real* sums = op.partial + (own_tiles ? block * count : 0);
    with_tile(op, thread, [&](auto* tile) {
      if (op.terms) std::memset(sums, 0, size_t(count) * sizeof(real));
      if (op.terms) add_weight_grad<L>(op, own, block, sums, tile);
      if (op.out) add_input_grad<L>(op, own, block, tile);
    });
    if (op.terms && !own_tiles) add_sums_of_block(op, run, sums);
  });
  if (!op.terms || !own_tiles) return;
  for (int64_t block = 0; block < run.blocks; ++block)
    add_sums_of_block(op, run, op.partial + block * count);
}

// The gradients of a layer of one block, or a linear layer.
template <int L>
void add_to_grads(const Op& op, const Run& run, real* grads) {
  const Layer& l = *op.layer;
  if (!is_flat(l)) {
    with_tile(op, 0, [&](auto* tile) {
      if (op.terms) add_weight_grad<L>(op, run, 0, grads, tile);
      if (op.out) add_input_grad<L>(op, run, 0, tile);
    });
    return;
  }
  const int64_t step = smaller(l.tile_rows, l.grad_rows);
  for (int64_t block = 0; block < run.blocks; block += step) {
    const int64_t count = smaller(step, run.blocks - block);
    if (op.terms) add_flat_weight_grad<L>(op, run, block, count, grads);
    if (op.out) add_flat_input_grad<L>(op, run, block, count);
  }
}

// Weight gradient (unless only the input's is wanted) and input gradient (if op.out is given).
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
  if (run.blocks > 1 && !is_flat(l)) return add_conv_grads<L>(op, run);
  real* grads = op.terms && op.weights ? scatter(op, run, l.value_grads) : l.value_grads;
  add_to_grads<L>(op, run, grads);
  if (op.terms && op.weights)
    parallel(run, l.start[l.out_channels], [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) l.value_grads[i] = grads[l.flat[i]];
    });
}

}  // namespace
}  // namespace fedtiny
