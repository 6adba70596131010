// Convolution over tiles: fill a padded tile, then sweep it.
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

// f(run, block, thread) for all blocks. Threads that have tiles of their own take a block each, if that
// is fair: none then reads what another wrote, and they meet once. Else they share every block.
template <class F>
FT_INLINE void each_block(const Op& op, const Run& run, const F& f) {
  if (op.tile_bytes == 0 || run.blocks % run.threads != 0) {
    for (int64_t block = 0; block < run.blocks; ++block) f(run, block, int64_t(0));
    return;
  }
  Run alone = run;
  alone.threads = 1;
  parallel(run, run.blocks, [&](int64_t begin, int64_t end, int64_t thread) {
    for (int64_t block = begin; block < end; ++block) f(alone, block, thread);
  });
}

// f(padded tile of a thread) with the type of its numbers.
template <class F>
FT_INLINE void with_tile(const Op& op, int64_t thread, const F& f) {
  const char* tile = reinterpret_cast<const char*>(op.scratch) + thread * op.tile_bytes;
  with_numbers(tile, op.narrow_tile, f);
}

// One block's outputs, a tile of rows at a time; with their statistics, if there is room for them.
template <int L, class Number>
void run_tiles(const Op& op, const Run& run, int64_t block, const real* values, real* sums,
               Number* scratch) {
  const Layer& l = *op.layer;
  const InputTile tile(l, L);
  for (int64_t row = 0; row < l.out_height; row += l.tile_rows) {
    const int64_t rows = smaller(l.tile_rows, l.out_height - row);
    parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t c = begin; c < end; ++c) fill_input<L>(op, tile, scratch, block, row, rows, c);
    });
    parallel(run, l.out_channels, [&](int64_t begin, int64_t end, int64_t) {
      Gather<Number> g = forward_task<L>(op, tile, scratch, block, row);
      g.value = values;
      g.sums = sums;
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
  if (fused) zero(op.sums, run.blocks * l.out_channels * 32);
  const real* values = op.weights ? scatter(op, run, l.values) : l.values;
  if (is_flat(l)) return run_flat<L>(op, run, values);
  each_block(op, run, [&](const Run& run, int64_t block, int64_t thread) {
    real* sums = fused ? op.sums + block * l.out_channels * 32 : nullptr;
    with_tile(op, thread, [&](auto* tile) { run_tiles<L>(op, run, block, values, sums, tile); });
  });
  if (statistics) {
    set_batch_statistics<L>(op, run, fused);
  } else if (l.batch_norm && op.kind == kConv) {
    set_running_coefficients(l);
  }
}

}  // namespace
}  // namespace fedtiny
