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

// Drawn rows, each once, their weights and, for every tap, their pixels.
template <typename Accumulator>
struct RowsOfBlock {
  int64_t count = 0;
  int64_t row[kProductRows];
  Accumulator weight[kProductRows];
  const Accumulator** pixels;
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

template <typename T, typename Accumulator>
void CollectRows(const ProductTask<T>& task, int64_t begin, int64_t end,
                 int64_t first_out, int64_t out_channels,
                 RowsOfBlock<Accumulator>* rows) {
  rows->count = 0;
  for (int64_t place = begin; place < end;) {
    const int64_t row = task.rows.drawn[place];
    rows->row[rows->count] = row;
    rows->weight[rows->count] = TakeRow<Accumulator>(task.rows, end, &place);
    ++rows->count;
    if (task.g.layout == Layout::kNHWC) {
      const T* values = task.out_backprop + row * task.g.out_depth + first_out;
      for (int64_t co = 0; co < out_channels; co += 64 / sizeof(T)) {
        __builtin_prefetch(values + co);
      }
    }
  }
}

// Where the filter lies at the rows of a block.
//
// Drawn rows ascend: to count the lines that they pass is faster than to
// divide. Few rows have taps outside the input on large maps: all taps are
// listed as if they lay inside, by vectors, then those outside again.
template <typename T, typename Accumulator>
void ListPixels(const ProductTask<T>& task, RowsOfBlock<Accumulator>* rows) {
  const ConvGeometry& g = task.g;
  const int64_t reach_rows = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t reach_cols = (g.filter_cols - 1) * g.dilation_cols;
  const int64_t pixel_bytes = g.in_depth * sizeof(Accumulator);
  const int64_t line = rows->count > 0 ? rows->row[0] / g.out_cols : 0;
  int64_t image = line / g.out_rows;
  int64_t out_row = line % g.out_rows;
  int64_t line_begin = line * g.out_cols;
  // Addresses, since a corner may lie outside; and the rows with such taps.
  uintptr_t corner[kProductRows];
  int64_t top[kProductRows];
  int64_t left[kProductRows];
  int64_t clipped[kProductRows];
  int64_t clipped_count = 0;
  for (int64_t i = 0; i < rows->count; ++i) {
    while (rows->row[i] >= line_begin + g.out_cols) {
      line_begin += g.out_cols;
      if (++out_row == g.out_rows) {
        out_row = 0;
        ++image;
      }
    }
    top[i] = out_row * g.stride_rows - g.pad_top;
    left[i] = (rows->row[i] - line_begin) * g.stride_cols - g.pad_left;
    corner[i] =
        reinterpret_cast<uintptr_t>(task.pixels) +
        ((image * g.in_rows + top[i]) * g.in_cols + left[i]) * pixel_bytes;
    clipped[clipped_count] = i;
    clipped_count += top[i] < 0 || top[i] + reach_rows >= g.in_rows ||
                     left[i] < 0 || left[i] + reach_cols >= g.in_cols;
  }
  const Accumulator** listed = rows->pixels;
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
      const uintptr_t tap_bytes =
          (kh * g.dilation_rows * g.in_cols + kw * g.dilation_cols) *
          pixel_bytes;
      for (int64_t i = 0; i < rows->count; ++i) {
        listed[i] = reinterpret_cast<const Accumulator*>(corner[i] + tap_bytes);
      }
      for (int64_t i = 0; i < clipped_count; ++i) {
        const int64_t row = top[clipped[i]] + kh * g.dilation_rows;
        const int64_t col = left[clipped[i]] + kw * g.dilation_cols;
        const bool is_inside =
            row >= 0 && row < g.in_rows && col >= 0 && col < g.in_cols;
        if (!is_inside) listed[clipped[i]] = task.zeros;
      }
      for (int64_t i = rows->count; i < kProductRows; ++i) {
        listed[i] = task.zeros;
      }
      listed += kProductRows;
    }
  }
}

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
template <typename T, typename Accumulator>
void PackRows(const ProductTask<T>& task, const RowsOfBlock<Accumulator>& rows,
              int64_t first, int64_t channels, Accumulator* panels) {
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
