// Gradients of a layer's absent weights, a bounded tile of output channels at a time, fed to a heap
// that keeps the largest: the layer's dense gradient never exists.
#pragma once
#include "conv_grad.h"

namespace fedtiny {
namespace {

struct Candidate {
  real value;
  int32_t index;
};

// Order of selection: larger magnitude first, then the smaller flat index.
inline bool better(const Candidate& a, const Candidate& b) {
  const real x = a.value < 0 ? -a.value : a.value, y = b.value < 0 ? -b.value : b.value;
  return x > y || (x == y && a.index < b.index);
}

// A heap over (top_index, top_value) with the worst kept candidate on top.
class TopK {
 public:
  explicit TopK(const Op& op) : op_(op) {}

  void offer(Candidate c) const {
    int64_t& count = *op_.top_count;
    if (count < op_.top_k) {
      set(count, c);
      rise(count++);
    } else if (op_.top_k > 0 && better(c, get(0))) {
      set(0, c);
      sink(0);
    }
  }

 private:
  Candidate get(int64_t i) const { return {op_.top_value[i], op_.top_index[i]}; }
  void set(int64_t i, Candidate c) const {
    op_.top_value[i] = c.value;
    op_.top_index[i] = c.index;
  }
  void rise(int64_t i) const {
    const Candidate c = get(i);
    for (; i > 0 && better(get((i - 1) / 2), c); i = (i - 1) / 2) set(i, get((i - 1) / 2));
    set(i, c);
  }
  void sink(int64_t i) const {
    const Candidate c = get(i);
    for (;;) {
      int64_t child = 2 * i + 1;
      if (child >= *op_.top_count) break;
      if (child + 1 < *op_.top_count && better(get(child), get(child + 1))) ++child;
      if (!better(c, get(child))) break;
      set(i, get(child));
      i = child;
    }
    set(i, c);
  }
  const Op& op_;
};

// f(flat position within the row, tile offset) for every absent weight of output channel o.
template <int L, class F>
void each_absent(const Layer& l, int64_t o, const F& f) {
  const InputTile tile(l, L);
  const int64_t first = o / l.group_outputs * l.group_inputs;
  const int64_t row = l.group_inputs * l.kernel_h * l.kernel_w;
  int32_t held = l.start[o];
  int64_t position = 0;
  for (int64_t c = first; c < first + l.group_inputs; ++c)
    for (int64_t i = 0; i < l.kernel_h; ++i)
      for (int64_t j = 0; j < l.kernel_w; ++j, ++position) {
        const int64_t phase = i % l.stride_h * tile.phases_w + j % l.stride_w;
        const int64_t within = i / l.stride_h * tile.columns + j / l.stride_w;
        const int32_t at = int32_t((c * tile.channel() + phase * tile.plane() + within) * L);
        if (held < l.start[o + 1] && l.flat[held] == o * row + position) ++held;
        else f(position, at);
      }
}

template <int L>
int64_t gather_absent(const Op& op, int64_t first, int64_t last, int32_t* start) {
  int32_t count = 0;
  for (int64_t o = first; o < last; ++o) {
    start[o - first] = count;
    each_absent<L>(*op.layer, o, [&](int64_t, int32_t at) { op.absent_offset[count++] = at; });
  }
  start[last - first] = count;
  return count;
}

template <int L, class Number>
void add_absent_gradients(const Op& op, const Run& run, int64_t first, int64_t last,
                          const int32_t* start, Number* scratch) {
  const Layer& l = *op.layer;
  const InputTile tile(l, L);
  const int64_t map = l.out_height * l.out_width * L;
  for (int64_t block = 0; block < run.blocks; ++block) {
    const Op input = block_of<L>(op, run, block);
    for (int64_t row = 0; row < l.out_height; row += l.tile_rows) {
      const int64_t rows = smaller(l.tile_rows, l.out_height - row);
      parallel(run, l.in_channels, [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t c = begin; c < end; ++c) fill_input<L>(input, tile, scratch, 0, row, rows, c);
      });
      parallel(run, last - first, [&](int64_t begin, int64_t end, int64_t) {
        Dot<Number> d{};
        d.in = scratch;
        d.in_row = tile.columns * L;
        d.grad = op.input;
        d.narrow = op.narrow_input;
        d.grad_at = (block * l.out_channels + first) * map + row * l.out_width * L;
        d.grad_channel = map;
        d.grad_row = l.out_width * L;
        d.start = start;
        d.start_stride = 1;
        d.offset = op.absent_offset;
        d.out = op.absent_grad;
        d.first = begin;
        d.last = end;
        dot<L>(d, rows, l.out_width);
      });
    }
  }
}

// One tile: output channels [first, last). op.accumulate keeps the gradients of earlier
// micro-batches; op.finish offers them to the heap.
template <int L>
void grow_tile(const Op& op, const Run& run, int64_t first, int64_t last) {
  const Layer& l = *op.layer;
  int32_t* start = op.absent_offset + op.capacity;
  const int64_t count = gather_absent<L>(op, first, last, start);
  if (!op.accumulate) zero(op.absent_grad, count);
  with_numbers(op.scratch, op.narrow_tile, [&](auto* scratch) {
    add_absent_gradients<L>(op, run, first, last, start, scratch);
  });
  if (!op.finish) return;
  const TopK top(op);
  const int64_t row = l.group_inputs * l.kernel_h * l.kernel_w;
  int64_t k = 0;
  for (int64_t o = first; o < last; ++o)
    each_absent<L>(l, o, [&](int64_t position, int32_t) {
      top.offer({op.absent_grad[k++], int32_t(o * row + position)});
    });
}

template <int L>
void run_grow(const Op& op, const Run& run) {
  const Layer& l = *op.layer;
  const int64_t row = l.group_inputs * l.kernel_h * l.kernel_w;
  const int64_t step = larger(1, op.capacity / row);
  for (int64_t o = op.first_channel; o < op.last_channel; o += step)
    grow_tile<L>(op, run, o, smaller(o + step, op.last_channel));
}

}  // namespace
}  // namespace fedtiny
