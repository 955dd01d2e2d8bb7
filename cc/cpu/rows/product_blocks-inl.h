// The drawn rows of a block: where they are, what their taps read, their dY
// packed for the tiles.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_BLOCKS_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_BLOCKS_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/product_tiles-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// The rows that a tap of the filter finds a pixel for.
template <typename T>
struct RowsOfTap {
  int64_t count;
  // Some pixel behind the last.
  const T* pixel[kProductRows];
  // Among the rows of the block; behind those with all taps inside.
  int32_t place[kProductRows];
};

// Drawn rows, each once: those that lie inside X with all taps, then the
// others. And their weights and, for every tap, their pixels.
template <typename T>
struct RowsOfBlock {
  using Accumulator = typename AccumulatorOf<T>::type;

  int64_t count = 0;
  // Rows with all taps inside.
  int64_t whole = 0;
  int64_t row[kProductRows];
  Accumulator weight[kProductRows];
  RowsOfTap<T>* taps;
};

// Moves `place`, before `end`, behind all draws of the row there, and returns
// their weight.
template <typename Accumulator>
inline Accumulator TakeRow(const DrawnRows& rows, int64_t end, int64_t* place) {
  const int64_t row = rows.drawn[*place];
  int64_t times = 0;
  for (; *place < end && rows.drawn[*place] == row; ++*place) ++times;
  return static_cast<Accumulator>(static_cast<double>(times) * rows.weight /
                                  rows.size[row]);
}

template <typename T>
void CollectRows(const ProductTask<T>& task, int64_t begin, int64_t end,
                 RowsOfBlock<T>* rows) {
  using Accumulator = typename AccumulatorOf<T>::type;
  rows->count = 0;
  for (int64_t place = begin; place < end;) {
    rows->row[rows->count] = task.rows.drawn[place];
    rows->weight[rows->count] = TakeRow<Accumulator>(task.rows, end, &place);
    ++rows->count;
  }
}

// Where the filter lies at the rows of a block.
//
// Drawn rows ascend: to count the lines that they pass is faster than to
// divide. Rows with all taps inside X are listed by vectors; of the others each
// tap lists those that it is inside for, since the zeros outside would be
// multiplied: a sixth of the taps of an 8x8 map, more than half at 2x2.
template <typename T>
void ListPixels(const ProductTask<T>& task, RowsOfBlock<T>* rows) {
  const ConvGeometry& g = task.g;
  const int64_t reach_rows = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t reach_cols = (g.filter_cols - 1) * g.dilation_cols;
  const int64_t pixel_bytes = g.in_depth * sizeof(T);
  const int64_t line = rows->count > 0 ? rows->row[0] / g.out_cols : 0;
  int64_t image = line / g.out_rows;
  int64_t out_row = line % g.out_rows;
  int64_t line_begin = line * g.out_cols;
  // Addresses, since a corner may lie outside.
  uintptr_t corner[kProductRows];
  struct {
    int64_t row;
    int64_t top;
    int64_t left;
    uintptr_t corner;
    typename AccumulatorOf<T>::type weight;
  } clipped[kProductRows + 1];
  int64_t whole = 0;
  int64_t clipped_count = 0;
  for (int64_t i = 0; i < rows->count; ++i) {
    const int64_t row = rows->row[i];
    while (row >= line_begin + g.out_cols) {
      line_begin += g.out_cols;
      if (++out_row == g.out_rows) {
        out_row = 0;
        ++image;
      }
    }
    const int64_t top = out_row * g.stride_rows - g.pad_top;
    const int64_t left = (row - line_begin) * g.stride_cols - g.pad_left;
    const uintptr_t address =
        reinterpret_cast<uintptr_t>(task.pixels) +
        ((image * g.in_rows + top) * g.in_cols + left) * pixel_bytes;
    const bool is_clipped = top < 0 || top + reach_rows >= g.in_rows ||
                            left < 0 || left + reach_cols >= g.in_cols;
    // In both lists, without a branch that nobody can foresee; it stays in one.
    clipped[clipped_count] = {row, top, left, address, rows->weight[i]};
    rows->row[whole] = row;
    rows->weight[whole] = rows->weight[i];
    corner[whole] = address;
    clipped_count += is_clipped;
    whole += !is_clipped;
  }
  for (int64_t i = 0; i < clipped_count; ++i) {
    rows->row[whole + i] = clipped[i].row;
    rows->weight[whole + i] = clipped[i].weight;
  }
  rows->whole = whole;
  RowsOfTap<T>* tap = rows->taps;
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    for (int64_t kw = 0; kw < g.filter_cols; ++kw, ++tap) {
      const int64_t down = kh * g.dilation_rows;
      const int64_t right = kw * g.dilation_cols;
      const uintptr_t tap_bytes = (down * g.in_cols + right) * pixel_bytes;
      for (int64_t i = 0; i < whole; ++i) {
        tap->pixel[i] = reinterpret_cast<const T*>(corner[i] + tap_bytes);
      }
      int64_t count = whole;
      for (int64_t i = 0; i < clipped_count; ++i) {
        tap->pixel[count] =
            reinterpret_cast<const T*>(clipped[i].corner + tap_bytes);
        tap->place[count] = static_cast<int32_t>(whole + i);
        // Negative ones are large without a sign.
        const auto row = static_cast<uint64_t>(clipped[i].top + down);
        const auto col = static_cast<uint64_t>(clipped[i].left + right);
        count += static_cast<int64_t>(row < static_cast<uint64_t>(g.in_rows)) &
                 static_cast<int64_t>(col < static_cast<uint64_t>(g.in_cols));
      }
      tap->count = count;
      for (int64_t i = count; i < kProductRows; ++i) {
        tap->pixel[i] = task.pixels;
      }
    }
  }
}

// Writes some channels of a tap's rows as [rows, kGathered].
template <typename T>
inline void GatherPixels(const RowsOfTap<T>& rows, int64_t channel,
                         int64_t channels,
                         typename AccumulatorOf<T>::type* gathered) {
  constexpr int kWidth = kLanes<typename AccumulatorOf<T>::type>;
  for (int64_t row = 0; row < rows.count; ++row) {
    const T* x = rows.pixel[row] + channel;
    if (channels == kGathered) {
#pragma GCC unroll 8
      for (int c = 0; c < kGathered; c += kWidth) {
        StoreVector(LoadVector(x + c), gathered + c);
      }
    } else {
      for (int64_t c = 0; c < channels; ++c) gathered[c] = Load(x[c]);
    }
    gathered += kGathered;
  }
}

// Brings a share of as many rows' pixels as `count` closer.
template <typename T>
inline void FetchPixels(const RowsOfTap<T>& rows, int64_t count,
                        int64_t channel, int64_t share, int64_t shares) {
  const int64_t end = (share + 1) * count / shares;
  for (int64_t row = share * count / shares; row < end; ++row) {
    __builtin_prefetch(rows.pixel[row] + channel, 0, 2);
  }
}

// Brings rows of dY closer, some lines at a time: all at once they would wait
// for the memory while nothing is multiplied.
template <typename T>
class LaterRows {
 public:
  // The channels [first, first + channels) of a block's rows, asked for in
  // `turns` calls of Fetch. In NCHW they are no lines.
  LaterRows(const ProductTask<T>& task, const RowsOfBlock<T>& rows,
            int64_t first, int64_t channels, int64_t turns)
      : row_(rows.row),
        values_(task.out_backprop + first),
        stride_(task.g.out_depth),
        channels_(channels) {
    if (task.g.layout != Layout::kNHWC) return;
    left_ = rows.count * ((channels + kLine - 1) / kLine);
    lines_of_turn_ = (left_ + turns - 1) / turns;
  }

  void Fetch() {
    for (int64_t i = 0; i < lines_of_turn_ && left_ > 0; ++i, --left_) {
      __builtin_prefetch(values_ + *row_ * stride_ + channel_, 0, 2);
      channel_ += kLine;
      if (channel_ < channels_) continue;
      channel_ = 0;
      ++row_;
    }
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(T);

  const int64_t* row_;
  const T* values_;
  int64_t stride_;
  int64_t channels_;
  int64_t channel_ = 0;
  int64_t left_ = 0;
  int64_t lines_of_turn_ = 0;
};

// A row's channels [channel, channel + count) times the weight, at most
// `vectors` whole vectors, with zeros behind.
template <typename T, typename Accumulator>
inline void PackVectors(const T* values, int64_t count, Accumulator weight,
                        int vectors, Accumulator* packed) {
  constexpr int kWidth = kLanes<Accumulator>;
  for (int v = 0; v < vectors; ++v) {
    if (count >= kWidth) {
      StoreVector(LoadVector(values) * Broadcast(weight), packed);
    } else {
      for (int lane = 0; lane < kWidth; ++lane) {
        packed[lane] =
            lane < count ? Load(values[lane]) * weight : Accumulator{0};
      }
    }
    values += kWidth;
    count -= kWidth;
    packed += kWidth;
  }
}

// Packs the output channels [first, first + channels) as panels of two vectors,
// and one at the end if their number is odd.
template <typename T>
void PackRows(const ProductTask<T>& task, const RowsOfBlock<T>& rows,
              int64_t first, int64_t channels,
              typename AccumulatorOf<T>::type* panels) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  if (g.layout == Layout::kNHWC) {
    for (int64_t i = 0; i < rows.count; ++i) {
      const T* values = task.out_backprop + rows.row[i] * g.out_depth + first;
      for (int64_t c = 0; c < channels; c += 2 * kWidth) {
        const int vectors = channels - c > kWidth ? 2 : 1;
        PackVectors(values + c, channels - c, rows.weight[i], vectors,
                    panels + c * kProductRows + i * vectors * kWidth);
      }
    }
    return;
  }
  // Plane by plane, as they lie in memory.
  int64_t offset[kProductRows];
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t image = rows.row[i] / g.positions();
    offset[i] = rows.row[i] + image * g.positions() * (g.out_depth - 1);
  }
  const int64_t padded = PaddedChannels<Accumulator>(channels);
  for (int64_t c = 0; c < padded; ++c) {
    const int64_t panel = c / (2 * kWidth) * (2 * kWidth);
    const int64_t width = padded - panel > kWidth ? 2 * kWidth : kWidth;
    const T* plane = task.out_backprop + (first + c) * g.positions();
    Accumulator* packed = panels + panel * kProductRows + (c - panel);
    for (int64_t i = 0; i < rows.count; ++i) {
      packed[i * width] = c < channels ? Load(plane[offset[i]]) * rows.weight[i]
                                       : Accumulator{0};
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_BLOCKS_INL_H_
