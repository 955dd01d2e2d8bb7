// How the work is partitioned. A unit is a block of output channels whose sums
// stay in the L2 cache while the examples stream by; no two units write the
// same element. NHWC: a row of the filter window is KW * Ci contiguous input
// elements, so that a patch is KH long vector updates, and the sums are kept as
// [Co, KH, KW, Ci] to match. NCHW: the window is contiguous only along KW, so
// that the sums are kept as [Co, Ci, KH, KW]. Either way they are turned into
// [KH, KW, Ci, Co] in the one write to memory that also scales and rounds.

#include "cc/kernels/accumulation.h"

#include <algorithm>
#include <cmath>

namespace tf_approxgrad {
namespace {

constexpr int64_t kChannelBlock = 8;

// The taps [begin, end) of one filter axis that fall inside the input.
struct TapRange {
  int64_t begin;
  int64_t end;
};

TapRange InsideTaps(int64_t origin, int64_t dilation, int64_t filter_size,
                    int64_t in_size) {
  TapRange range;
  range.begin = origin < 0 ? (-origin + dilation - 1) / dilation : 0;
  range.begin = std::min(range.begin, filter_size);
  range.end = origin < in_size ? (in_size - 1 - origin) / dilation + 1 : 0;
  range.end = std::clamp(range.end, range.begin, filter_size);
  return range;
}

// Distances between neighbours: elements in the image, sums in the block.
struct Strides {
  int64_t in_row, in_col, in_channel;
  int64_t sum_tap, sum_channel;
};

Strides StridesOf(const ConvGeometry& g) {
  if (g.layout == Layout::kNHWC) {
    return {g.in_cols * g.in_depth, g.in_depth, 1, g.in_depth, 1};
  }
  return {g.in_cols, 1, g.in_rows * g.in_cols, 1, g.taps()};
}

// sums[i] += weight * values[i]
template <typename T, typename Accumulator>
inline void AddScaled(const T* __restrict values, int64_t count,
                      Accumulator weight, Accumulator* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += weight * Load(values[i]);
}

// A tap outside the input counts as zero, and zero times a weight that is not
// finite is NaN: it must show in the result.
template <typename Accumulator>
void AddOutsideTaps(const ConvGeometry& g, TapRange rows, TapRange cols,
                    Accumulator weight, const Strides& strides,
                    Accumulator* sums) {
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
      const bool inside = kh >= rows.begin && kh < rows.end &&
                          kw >= cols.begin && kw < cols.end;
      if (inside) continue;
      Accumulator* tap = sums + (kh * g.filter_cols + kw) * strides.sum_tap;
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        tap[ci * strides.sum_channel] += weight * 0;
      }
    }
  }
}

// Adds weight * patch(image, position) to one channel's sums.
template <typename T, typename Accumulator>
void AddPatch(const ConvGeometry& g, const Strides& strides, const T* image,
              int64_t position, Accumulator weight, Accumulator* sums) {
  const int64_t top = position / g.out_cols * g.stride_rows - g.pad_top;
  const int64_t left = position % g.out_cols * g.stride_cols - g.pad_left;
  const TapRange rows =
      InsideTaps(top, g.dilation_rows, g.filter_rows, g.in_rows);
  const TapRange cols =
      InsideTaps(left, g.dilation_cols, g.filter_cols, g.in_cols);
  const int64_t width = cols.end - cols.begin;
  for (int64_t kh = rows.begin; kh < rows.end; ++kh) {
    const T* row = image + (top + kh * g.dilation_rows) * strides.in_row +
                   (left + cols.begin * g.dilation_cols) * strides.in_col;
    Accumulator* row_sums =
        sums + (kh * g.filter_cols + cols.begin) * strides.sum_tap;
    if (g.layout == Layout::kNHWC && g.dilation_cols == 1) {
      AddScaled(row, width * g.in_depth, weight, row_sums);
    } else if (g.layout == Layout::kNHWC) {
      for (int64_t kw = 0; kw < width; ++kw) {
        AddScaled(row + kw * g.dilation_cols * g.in_depth, g.in_depth, weight,
                  row_sums + kw * g.in_depth);
      }
    } else {
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        for (int64_t kw = 0; kw < width; ++kw) {
          row_sums[ci * strides.sum_channel + kw] +=
              weight *
              Load(row[ci * strides.in_channel + kw * g.dilation_cols]);
        }
      }
    }
  }
  const bool all_inside =
      width == g.filter_cols && rows.end - rows.begin == g.filter_rows;
  if (!all_inside && !std::isfinite(weight)) {
    AddOutsideTaps(g, rows, cols, weight, strides, sums);
  }
}

}  // namespace

int64_t AccumulationUnits(const ConvGeometry& g) {
  return (g.out_depth + kChannelBlock - 1) / kChannelBlock;
}

template <typename T>
void AccumulatePatches(const ConvGeometry& g, const T* input,
                       KeptPositions<typename AccumulatorOf<T>::type> kept,
                       double scale, int64_t begin, int64_t end,
                       typename AccumulatorOf<T>::type* sums,
                       T* filter_backprop) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const Strides strides = StridesOf(g);
  const int64_t image_size = g.in_rows * g.in_cols * g.in_depth;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t first = unit * kChannelBlock;
    const int64_t last = std::min(first + kChannelBlock, g.out_depth);
    Accumulator* block_sums = sums + first * g.filter_size();
    std::fill_n(block_sums, (last - first) * g.filter_size(), Accumulator{0});
    for (int64_t n = 0; n < g.batch; ++n) {
      const T* image = input + n * image_size;
      for (int64_t co = first; co < last; ++co) {
        const int64_t channel = (n * g.out_depth + co) * kept.k;
        for (int64_t j = channel; j < channel + kept.k; ++j) {
          AddPatch(g, strides, image, kept.positions[j], kept.weights[j],
                   block_sums + (co - first) * g.filter_size());
        }
      }
    }
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      for (int64_t ci = 0; ci < g.in_depth; ++ci) {
        const Accumulator* column =
            block_sums + tap * strides.sum_tap + ci * strides.sum_channel;
        T* out = filter_backprop + (tap * g.in_depth + ci) * g.out_depth;
        for (int64_t co = first; co < last; ++co) {
          out[co] = Store<T>(static_cast<Accumulator>(scale) *
                             column[(co - first) * g.filter_size()]);
        }
      }
    }
  }
}

template void AccumulatePatches<float>(const ConvGeometry&, const float*,
                                       KeptPositions<float>, double, int64_t,
                                       int64_t, float*, float*);
template void AccumulatePatches<double>(const ConvGeometry&, const double*,
                                        KeptPositions<double>, double, int64_t,
                                        int64_t, double*, double*);
template void AccumulatePatches<Bfloat16>(const ConvGeometry&, const Bfloat16*,
                                          KeptPositions<float>, double, int64_t,
                                          int64_t, float*, Bfloat16*);
template void AccumulatePatches<Half>(const ConvGeometry&, const Half*,
                                      KeptPositions<float>, double, int64_t,
                                      int64_t, float*, Half*);

}  // namespace tf_approxgrad
