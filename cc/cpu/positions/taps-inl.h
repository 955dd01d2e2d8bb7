// Which taps of a patch lie inside the input.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_TAPS_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_TAPS_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// A rectangle of the filter's taps.
struct FilterRange {
  int64_t first_row, end_row;
  int64_t first_col, end_col;

  bool operator==(const FilterRange& other) const {
    return first_row == other.first_row && end_row == other.end_row &&
           first_col == other.first_col && end_col == other.end_col;
  }
};

// The taps [begin, end) of one filter axis that fall inside the input.
struct AxisRange {
  int64_t begin, end;
};

inline AxisRange InsideTaps(int64_t origin, int64_t dilation, int64_t taps,
                            int64_t size) {
  AxisRange range{0, taps};
  while (range.begin < taps && origin + range.begin * dilation < 0) {
    ++range.begin;
  }
  while (range.end > range.begin &&
         origin + (range.end - 1) * dilation >= size) {
    --range.end;
  }
  return range;
}

// The position's patch: the input row and column of its first tap.
struct Origin {
  int64_t row, col;
};

inline Origin OriginOf(const ConvGeometry& g, double inverse_cols,
                       int32_t position) {
  // Exact for positions below 2^31, and a division takes far longer.
  const int64_t row = static_cast<int64_t>((position + 0.5) * inverse_cols);
  const int64_t col = position - row * g.out_cols;
  return {row * g.stride_rows - g.pad_top, col * g.stride_cols - g.pad_left};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_TAPS_INL_H_
