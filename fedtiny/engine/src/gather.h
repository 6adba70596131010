// out[c] (+)= sum over the non-zeros of channel c of value * (a shifted window of the tile): the
// forward convolution, and on the transposed list the input gradient. A register tile of up to 28
// vectors is held while the channel's non-zeros are swept: one broadcast and one multiply-add with
// a memory operand per vector.
#pragma once
#include "rows.h"

namespace fedtiny {
namespace {

template <class TileNumber>
struct Gather {
  using Number = TileNumber;
  const Number* in;
  int64_t in_row;  // numbers between the tile's rows
  void* out;  // a map of reals, or of bfloat16
  bool narrow;
  int64_t out_at;  // the first number of `out` that is meant
  int64_t out_channel, out_row, out_step;  // out_step: numbers between columns
  const int32_t* start;
  int64_t start_stride;  // list of channel c: [start[c * stride], start[c * stride + 1])
  const int32_t* offset;
  const real* value;
  int64_t value_stride;  // dense: reals between two channels' values
  const real* center;  // subtracted from channel c's result, or null
  const real* bias;    // added, or null
  real* sums;          // [channel][2][16]: sum and sum of squares by lane, or null
  bool accumulate;
  int64_t first, last;  // channels
};

// Asks for the next channel's part of a map: its lines lie a whole map away from this channel's, out
// of reach of the hardware's prefetching.
template <int R, int T, int kWrite>
FT_INLINE void prefetch_tile(const void* map, bool narrow, int64_t at, int64_t row, int64_t step) {
  const int64_t bytes = narrow ? sizeof(Bfloat16) : sizeof(real);
  for (int r = 0; r < R; ++r) {
    const char* from = row_at(static_cast<const char*>(map) + (at + r * row) * bytes);
    for (int t = 0; t < T; ++t) __builtin_prefetch(from + t * step * bytes, kWrite);
  }
}

template <int N, int R, int T>
FT_INLINE void load_tile(const void* map, bool narrow, int64_t at, int64_t row, int64_t step,
                         Held<N> (&a)[R][T]) {
  with_numbers(map, narrow, [&](const auto* p) FT_INLINED {
    for (int r = 0; r < R; ++r) {
      const auto* from = row_at(p + at + r * row);
      for (int t = 0; t < T; ++t) a[r][t] = take<N>(from + t * step);
    }
  });
}

// What is stored is what `a` holds afterwards: statistics go by the numbers that will be read.
template <int N, int R, int T>
FT_INLINE void store_tile(void* map, bool narrow, int64_t at, int64_t row, int64_t step,
                          Held<N> (&a)[R][T]) {
  with_numbers(map, narrow, [&](auto* p) FT_INLINED {
    for (int r = 0; r < R; ++r) {
      auto* to = row_at(p + at + r * row);
      for (int t = 0; t < T; ++t) {
        a[r][t] = kept<N>(p, a[r][t]);
        put<N>(to + t * step, a[r][t]);
      }
    }
  });
}

template <int N, int L, int R, int T, class Number>
void gather_tile(const Gather<Number>& g) {
  constexpr int64_t step = N > L ? N : L;
  const int64_t out_step = N > L ? N : g.out_step;
  for (int64_t c = g.first; c < g.last; ++c) {
    const int32_t begin = g.start[c * g.start_stride], end = g.start[c * g.start_stride + 1];
    if (g.accumulate && begin == end && !g.sums) continue;
    const real initial = g.center ? -g.center[c] : (g.bias ? g.bias[c] : real(0));
    for (int lane = 0; lane < (N > L ? N : L); lane += N) {
      const Number* in = g.in + lane;
      const int64_t at = g.out_at + c * g.out_channel + lane;
      prefetch_tile<R, T, 1>(g.out, g.narrow, at + 2 * g.out_channel, g.out_row, out_step);
      Held<N> a[R][T];
      if (g.accumulate) {
        load_tile<N, R, T>(g.out, g.narrow, at, g.out_row, out_step, a);
      } else {
        for (int r = 0; r < R; ++r)
          for (int t = 0; t < T; ++t) a[r][t] = all_of<N>(initial);
      }
      for (int32_t i = begin; i < end; ++i) {
        const Number* p = in + g.offset[i];
        const Held<N> w = all_of<N>(g.value[i]);
        for (int r = 0; r < R; ++r) {
          const Number* row = row_at(p + r * g.in_row);
          for (int t = 0; t < T; ++t) a[r][t] = a[r][t] + w * take<N>(row + t * step);
        }
      }
      store_tile<N, R, T>(g.out, g.narrow, at, g.out_row, out_step, a);
      if (!g.sums) continue;
      Held<N> s1[2] = {}, s2[2] = {};  // in turn: an addition need not wait for the one before
      for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t) {
          const int i = (r * T + t) % 2;
          s1[i] = s1[i] + a[r][t];
          s2[i] = s2[i] + a[r][t] * a[r][t];
        }
      add_to(g.sums + c * 32, joined<N>(s1[0] + s1[1]));
      add_to(g.sums + c * 32 + 16, joined<N>(s2[0] + s2[1]));
    }
  }
}

constexpr int kMaxWidth = kMaxAccumulators < 16 ? kMaxAccumulators : 16;

// Tile functions by width (1 .. 16), null where registers would not suffice.
template <class Task, template <int, int, int, int> class Tile, int N, int L, int R, int Limit>
struct TileRow {
  using Function = void (*)(const Task&);
  template <int T>
  static constexpr Function at() {
    if constexpr (R * T <= Limit) return &Tile<N, L, R, T>::template run<typename Task::Number>;
    else return nullptr;
  }
  template <std::size_t... I>
  static Function pick(int64_t width, std::index_sequence<I...>) {
    static constexpr Function table[] = {at<int(I) + 1>()...};
    return table[width - 1];
  }
};

constexpr int64_t kMaxHeight = 4;

struct TileShape {
  int64_t high, wide;
};

// The register tile of at most `limit` vectors that covers rows x columns of them in the fewest
// pieces; what is done once for a piece and a channel takes as long as a few non-zeros.
inline TileShape tile_shape(int64_t rows, int64_t columns, int64_t limit, int64_t widest) {
  TileShape best{1, 1};
  int64_t fewest = INT64_MAX;
  for (int64_t high = 1; high <= smaller(kMaxHeight, smaller(rows, limit)); ++high) {
    const int64_t down = divide_up(rows, high);
    const int64_t across = divide_up(columns, smaller(widest, limit / high));
    if (down * across >= fewest) continue;
    fewest = down * across;
    best = {divide_up(rows, down), divide_up(columns, across)};
  }
  return best;
}

// Covers rows x columns of vectors with register tiles; move(task, row, column) places one.
template <class Task, template <int, int, int, int> class Tile, int N, int L, int Limit, class Move>
FT_INLINE void cover(const Task& task, int64_t rows, int64_t columns, const Move& move) {
  constexpr int kWide = Limit < kMaxWidth ? Limit : kMaxWidth;
  constexpr auto widths = std::make_index_sequence<kWide>{};
  if (columns <= 0) return;
  const TileShape tile = tile_shape(rows, columns, Limit, kWide);
  for (int64_t y = 0, high; y < rows; y += high) {
    high = smaller(tile.high, rows - y);
    for (int64_t x = 0, wide; x < columns; x += wide) {
      wide = smaller(tile.wide, columns - x);
      void (*run)(const Task&);
      if (high == 4) run = TileRow<Task, Tile, N, L, 4, Limit>::pick(wide, widths);
      else if (high == 3) run = TileRow<Task, Tile, N, L, 3, Limit>::pick(wide, widths);
      else if (high == 2) run = TileRow<Task, Tile, N, L, 2, Limit>::pick(wide, widths);
      else run = TileRow<Task, Tile, N, L, 1, Limit>::pick(wide, widths);
      run(move(task, y, x));
    }
  }
}

template <int N, int L, int R, int T>
struct GatherTile {
  template <class Number>
  static void run(const Gather<Number>& g) { gather_tile<N, L, R, T>(g); }
};

template <template <int, int, int, int> class Tile, int Limit, int N, int L, class Number>
FT_INLINE void gather_vectors(const Gather<Number>& g, int64_t rows, int64_t columns) {
  constexpr int64_t step = N > L ? N : L;
  cover<Gather<Number>, Tile, N, L, Limit>(
      g, rows, columns, [](Gather<Number> at, int64_t y, int64_t x) {
        at.in += y * at.in_row + x * step;
        at.out_at += y * at.out_row + x * (N > L ? N : at.out_step);
        return at;
      });
}

// rows x columns positions of every channel in [g.first, g.last), W numbers at a time if they fit.
template <int L, template <int, int, int, int> class Tile = GatherTile, int Limit = kMaxAccumulators,
          class Number, int W = kWidest<Number>>
void gather(Gather<Number> g, int64_t rows, int64_t columns) {
  if constexpr (W <= L) {
    gather_vectors<Tile, held<W>(Limit), W, L>(g, rows, columns);
  } else {
    if (g.out_step == L && shares<W>(columns * L)) {  // neighbouring positions lie together
      const int64_t wide = columns * L / W, covered = wide * (W / L);
      gather_vectors<Tile, held<W>(Limit), W, L>(g, rows, wide);
      g.in += covered * L;
      g.out_at += covered * L;
      columns -= covered;
    }
    gather<L, Tile, Limit, Number, narrower<W, L>>(g, rows, columns);
  }
}

}  // namespace
}  // namespace fedtiny
