// Recomputing a tensor where it is read (a sum of scaled terms, each and all of them activated), and
// padded tiles of it.
#pragma once
#include "twin.h"

namespace fedtiny {
namespace {

template <bool kScaled, Activation kTerm, bool kAdd, Activation kSum, class From, class To>
FT_INLINE void add_term(const Term& t, int64_t c, const From* from, To* to, int64_t n) {
  const real m = kScaled ? t.mean[c] : real(0), a = kScaled ? t.scale[c] : real(1);
  const real b = kScaled ? t.beta[c] : real(0);
  for_held<From, To>(n, [=](auto width, int64_t k) {
    constexpr int N = decltype(width)::value;
    Held<N> v = take<N>(from + k);
    if constexpr (kScaled) v = (v - all_of<N>(m)) * all_of<N>(a) + all_of<N>(b);
    v = activate<kTerm, N>(v);
    if constexpr (kAdd) v = v + take<N>(to + k);
    v = activate<kSum, N>(v);
    round_to<N>(to + k, v);
  });
}

// apply_term() of any two activations, out of line: one copy for all who read rows.
template <bool kAdd, class From, class To>
__attribute__((noinline)) void apply_other_term(const Term& t, int64_t c, const From* from, To* to,
                                                int64_t n) {
  with_activation(t.activation, [&](auto term) {
    with_activation(kAdd ? t.sum_activation : int64_t(kNone), [&](auto sum) {
      constexpr Activation kTerm = decltype(term)::value;
      constexpr Activation kSum = kAdd ? decltype(sum)::value : kNone;
      if (t.mean) add_term<true, kTerm, kAdd, kSum>(t, c, from, to, n);
      else add_term<false, kTerm, kAdd, kSum>(t, c, from, to, n);
    });
  });
}

// to[0..n) (+)= the term's values at from[0..n), all of channel c.
template <bool kAdd, class From, class To>
FT_INLINE void apply_numbers(const Term& t, int64_t c, const From* from, To* to, int64_t n) {
  const int64_t sum = kAdd ? t.sum_activation : int64_t(kNone);
  if (t.activation > kRelu || sum > kRelu) return apply_other_term<kAdd>(t, c, from, to, n);
  const bool relu = t.activation == kRelu, relu_sum = sum == kRelu;
  if (t.mean) {
    if (relu) {
      if (relu_sum) add_term<true, kRelu, kAdd, kRelu>(t, c, from, to, n);
      else add_term<true, kRelu, kAdd, kNone>(t, c, from, to, n);
    } else {
      if (relu_sum) add_term<true, kNone, kAdd, kRelu>(t, c, from, to, n);
      else add_term<true, kNone, kAdd, kNone>(t, c, from, to, n);
    }
  } else if (relu || relu_sum) {
    if (relu && relu_sum) add_term<false, kRelu, kAdd, kRelu>(t, c, from, to, n);
    else if (relu) add_term<false, kRelu, kAdd, kNone>(t, c, from, to, n);
    else add_term<false, kNone, kAdd, kRelu>(t, c, from, to, n);
  } else {
    add_term<false, kNone, kAdd, kNone>(t, c, from, to, n);
  }
}

// apply_numbers() of bfloat16, out of line as well.
template <bool kAdd, class To>
__attribute__((noinline)) void apply_narrow(const Term& t, int64_t c, int64_t at, To* to, int64_t n) {
  apply_numbers<kAdd>(t, c, reinterpret_cast<const Bfloat16*>(t.data) + at, to, n);
}

template <bool kAdd, class To>
FT_INLINE void apply_term(const Term& t, int64_t c, int64_t at, To* to, int64_t n) {
  if (t.narrow) apply_narrow<kAdd>(t, c, at, to, n);
  else apply_numbers<kAdd>(t, c, t.data + at, to, n);
}

// to[0..n) = the tensor described by the op's terms, from `at` numbers into each term's data.
FT_INLINE void read_row(const Op& op, int64_t c, int64_t at, real* to, int64_t n) {
  apply_term<false>(op.term[0], c, at, to, n);
  for (int64_t i = 1; i < op.terms; ++i) apply_term<true>(op.term[i], c, at, to, n);
}

constexpr int64_t kRowPiece = 1024;  // numbers recomputed at a time on their way to bfloat16

// read_row() into a tile.
FT_INLINE void read_tile_row(const Op& op, int64_t c, int64_t at, real* to, int64_t n) {
  read_row(op, c, at, to, n);
}
FT_INLINE void read_tile_row(const Op& op, int64_t c, int64_t at, Bfloat16* to, int64_t n) {
  if (op.terms == 1) return apply_term<false>(op.term[0], c, at, to, n);
  real piece[kRowPiece];
  for (int64_t k = 0; k < n; k += kRowPiece) {
    const int64_t part = smaller(kRowPiece, n - k);
    read_row(op, c, at + k, piece, part);
    copy(piece, to + k, part);
  }
}

constexpr int64_t kPieceColumns = 64;  // of a strided row, recomputed at a time

// Positions rounded up to an odd number of cache lines: planes then start in different cache sets.
inline int64_t spread(int64_t positions, int64_t lanes) {
  const int64_t line = 16 / lanes;
  return line * (divide_up(positions, line) | 1);
}

// Geometry of the padded input tile: [channel][row phase][column phase][row][column][lane]. With
// stride s, taps i and i + s read the same phase one row apart, so every access has stride 1.
struct InputTile {
  int64_t lanes, phases_h, phases_w, rows, columns;
  InputTile(const Layer& l, int64_t lane_count)
      : lanes(lane_count),
        phases_h(smaller(l.stride_h, l.kernel_h)),
        phases_w(smaller(l.stride_w, l.kernel_w)),
        rows(l.tile_rows + (l.kernel_h - 1) / l.stride_h),
        columns(l.out_width + (l.kernel_w - 1) / l.stride_w) {}
  int64_t plane() const { return spread(rows * columns, lanes); }
  int64_t channel() const { return phases_h * phases_w * plane(); }
};

// One tile row per column phase: column w of phase p holds input column w * stride + p - pad.
template <int L, class Number>
FT_INLINE void fill_row(const Op& op, const InputTile& tile, int64_t c, int64_t source, Number* to) {
  const Layer& l = *op.layer;
  const int64_t stride = l.stride_w;
  if (stride == 1) {
    const int64_t width = smaller(l.in_width, tile.columns - l.pad_w);
    zero(to, l.pad_w * L);
    read_tile_row(op, c, source, to + l.pad_w * L, width * L);
    zero(to + (l.pad_w + width) * L, (tile.columns - l.pad_w - width) * L);
    return;
  }
  if (tile.phases_w == 1 && l.pad_w == 0) {  // a 1-wide kernel: skip what no tap reads
    const int64_t inside = smaller(tile.columns, divide_up(l.in_width, stride));
    for (int64_t w = 0; w < inside; ++w) read_tile_row(op, c, source + w * stride * L, to + w * L, L);
    zero(to + inside * L, (tile.columns - inside) * L);
    return;
  }
  real piece[kPieceColumns * L];
  for (int64_t x = 0; x < l.in_width; x += kPieceColumns) {
    const int64_t width = smaller(kPieceColumns, l.in_width - x);
    read_row(op, c, source + x * L, piece, width * L);
    for (int64_t p = 0; p < tile.phases_w; ++p) {
      const int64_t first = p - l.pad_w - x;  // column 0 of the phase, seen from the piece
      const int64_t begin = smaller(tile.columns, first >= 0 ? 0 : divide_up(-first, stride));
      const int64_t fit = width > first ? divide_up(width - first, stride) : 0;
      const int64_t end = larger(begin, smaller(tile.columns, fit));
      Number* line = to + p * tile.plane() * L;
      if (x == 0) zero(line, begin * L);
      for (int64_t w = begin; w < end; ++w)
        copy(piece + (w * stride + first) * L, line + w * L, L);
      if (x + width == l.in_width) zero(line + end * L, (tile.columns - end) * L);
    }
  }
}

// Numbers in a row that the hardware's prefetching is left alone with.
constexpr int64_t kStream = 8192;

// Asks for a row of the terms' data, `n` numbers from `at`.
FT_INLINE void prefetch_row(const Op& op, int64_t at, int64_t n) {
  for (int64_t i = 0; i < op.terms; ++i) {
    const Term& t = op.term[i];
    const int64_t bytes = t.narrow ? sizeof(Bfloat16) : sizeof(real);
    const char* from = reinterpret_cast<const char*>(t.data) + at * bytes;
    for (int64_t k = 0; k < n * bytes; k += 64) __builtin_prefetch(from + k);
  }
}

// Fills channel c of the tile that serves output rows [row, row + count) of `block`.
template <int L, class Number>
FT_INLINE void fill_input(const Op& op, const InputTile& tile, Number* scratch, int64_t block,
                          int64_t row, int64_t count, int64_t c) {
  const Layer& l = *op.layer;
  if (l.grad_start && !l.dense && op.kind != kGrow) {
    const int64_t phases = l.stride_h * l.stride_w;
    if (l.grad_start[c * phases] == l.grad_start[(c + 1) * phases]) return;  // nothing reads it
  }
  const int64_t rows = count + (l.kernel_h - 1) / l.stride_h;
  Number* to = scratch + c * tile.channel() * L;
  const int64_t map = (block * l.in_channels + c) * l.in_height * l.in_width * L;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t p = 0; p < tile.phases_h; ++p) {
      const int64_t y = (row + r) * l.stride_h + p - l.pad_h;
      Number* line = to + (p * tile.phases_w * tile.plane() + r * tile.columns) * L;
      if (y >= 0 && y < l.in_height) {
        const int64_t next = map + (l.in_height + y) * l.in_width * L;  // the next channel's row
        if (count * l.stride_h * l.in_width * L < kStream) prefetch_row(op, next, l.in_width * L);
        fill_row<L>(op, tile, c, map + y * l.in_width * L, line);
      } else {
        for (int64_t q = 0; q < tile.phases_w; ++q)
          zero(line + q * tile.plane() * L, tile.columns * L);
      }
    }
}

// A linear layer: its maps have one position, so its tiles hold blocks where others hold rows, and a
// register tile covers several blocks. One with batch norm is none: its statistics go by block.
inline bool is_flat(const Layer& l) {
  return !l.batch_norm && l.in_height * l.in_width == 1 && l.out_height * l.out_width == 1 &&
         l.kernel_h * l.kernel_w == 1 && l.stride_h * l.stride_w == 1;
}

// fill_input() of a flat layer's channel c, of `count` blocks.
template <int L>
FT_INLINE void fill_blocks(const Op& op, const InputTile& tile, int64_t block, int64_t count,
                           int64_t c) {
  const Layer& l = *op.layer;
  if (l.grad_start && !l.dense && l.grad_start[c] == l.grad_start[c + 1]) return;  // unread
  real* to = op.scratch + c * tile.channel() * L;
  for (int64_t b = 0; b < count; ++b)
    read_row(op, c, ((block + b) * l.in_channels + c) * L, to + b * L, L);
}

// Padded tile of the output gradient for the input gradient. Input row Y = u * stride + r - pad
// (phase r = (Y + pad) % stride) receives gradient rows u - i / stride of the taps i = r mod stride.
struct GradTile {
  int64_t reach_h, reach_w, first_u, last_u, first_v, last_v, columns, rows, plane;
  GradTile(const Layer& l, int64_t lanes)
      : reach_h((l.kernel_h - 1) / l.stride_h),
        reach_w((l.kernel_w - 1) / l.stride_w),
        first_u(l.pad_h / l.stride_h),
        last_u((l.in_height - 1 + l.pad_h) / l.stride_h + 1),
        first_v(l.pad_w / l.stride_w),
        last_v((l.in_width - 1 + l.pad_w) / l.stride_w + 1),
        columns(last_v - first_v + reach_w),
        rows(l.grad_rows + reach_h),
        plane(spread(rows * columns, lanes)) {}
};

// Fills output channel o for rows u of [row, row + count).
template <int L, class Number>
FT_INLINE void fill_gradient(const Op& op, const GradTile& tile, Number* scratch, int64_t block,
                             int64_t row, int64_t count, int64_t o) {
  const Layer& l = *op.layer;
  const int64_t map = (block * l.out_channels + o) * l.out_height * l.out_width * L;
  Number* to = scratch + o * tile.plane * L;
  const int64_t first = tile.first_v - tile.reach_w;
  const int64_t begin = smaller(tile.columns, larger(0, -first));
  const int64_t end = larger(begin, smaller(tile.columns, l.out_width - first));
  for (int64_t r = 0; r < count + tile.reach_h; ++r, to += tile.columns * L) {
    const int64_t y = row + r - tile.reach_h;
    if (y < 0 || y >= l.out_height) {
      zero(to, tile.columns * L);
      continue;
    }
    zero(to, begin * L);
    const int64_t at = map + (y * l.out_width + begin + first) * L;
    with_numbers(op.input, op.narrow_input, [&](const auto* from) {
      copy(from + at, to + begin * L, (end - begin) * L);
    });
    zero(to + end * L, (tile.columns - end) * L);
  }
}

}  // namespace
}  // namespace fedtiny
