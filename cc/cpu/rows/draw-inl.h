// The loops of the draw over all rows; row_draw.h says what they compute.
//
// In double and without fused multiply-adds, in an order that is the same for
// every instruction set, so that all draw the same rows.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_DRAW_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_DRAW_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/common/target.h"

TF_APPROXGRAD_BEGIN_TARGET_WITHOUT_FMA();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

constexpr int64_t kPartsOfBlock = kRowBlock / kRowPart;

inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// How many of `count` places from `begin` on, `step` apart, lie below `end`.
inline int64_t PlacesBelow(int64_t begin, int64_t step, int64_t count,
                           int64_t end) {
  return begin >= end ? 0 : Least((end - begin + step - 1) / step, count);
}

// The rows [begin, end) line by line: tap by tap to all columns that it is
// inside for, so that neighbours are lanes of a vector.
void MultiplyByPatchSquares(const ConvGeometry& g, const double* pixel_sums,
                            int64_t begin, int64_t end, double* squares) {
  for (int64_t row = begin; row < end;) {
    const int64_t line = row / g.out_cols;
    const int64_t first_col = row - line * g.out_cols;
    const int64_t columns =
        Least(Least(g.out_cols - first_col, end - row), kRowBlock);
    const int64_t image = line / g.out_rows;
    const int64_t top = (line - image * g.out_rows) * g.stride_rows - g.pad_top;
    const int64_t stride = g.stride_cols;
    double sums[kRowBlock];
    for (int64_t i = 0; i < columns; ++i) sums[i] = 0;
    for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
      const int64_t in_row = top + kh * g.dilation_rows;
      if (in_row < 0 || in_row >= g.in_rows) continue;
      const double* pixels =
          pixel_sums + (image * g.in_rows + in_row) * g.in_cols;
      for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
        const int64_t left =
            first_col * stride - g.pad_left + kw * g.dilation_cols;
        const int64_t first = PlacesBelow(left, stride, columns, 0);
        const int64_t last = PlacesBelow(left, stride, columns, g.in_cols);
        if (stride == 1) {
          for (int64_t i = first; i < last; ++i) sums[i] += pixels[left + i];
        } else {
          for (int64_t i = first; i < last; ++i) {
            sums[i] += pixels[left + i * stride];
          }
        }
      }
    }
    for (int64_t i = 0; i < columns; ++i) squares[row + i] *= sums[i];
    row += columns;
  }
}

// Calls add(part, row) for the rows of each whole block, one of each part by
// turns, as an addition waits for the one before, and for those of the last,
// which may be shorter.
template <typename Add>
inline __attribute__((always_inline)) void ForEachInTurns(int64_t first,
                                                          int64_t last,
                                                          const Add& add) {
  if (last - first == kRowBlock) {
    for (int64_t i = 0; i < kRowPart; ++i) {
#pragma GCC unroll 4
      for (int64_t part = 0; part < kPartsOfBlock; ++part) {
        add(part, first + part * kRowPart + i);
      }
    }
  } else {
    for (int64_t row = first; row < last; ++row) {
      add((row - first) / kRowPart, row);
    }
  }
}

void SumParts(const double* size, int64_t rows, int64_t begin, int64_t end,
              double* part_sums) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kRowBlock;
    const int64_t last = Least(first + kRowBlock, rows);
    double sums[kPartsOfBlock] = {};
    ForEachInTurns(first, last,
                   [&](int64_t part, int64_t row) { sums[part] += size[row]; });
    const int64_t parts = RowParts(last - first);
    for (int64_t part = 0; part < parts; ++part) {
      part_sums[block * kPartsOfBlock + part] = sums[part];
    }
  }
}

inline double AddRowLanes(double* lanes) {
  for (int64_t half = kRowBlock / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane)
      lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

double LimitOfLargest(const double* size, int64_t rows, int64_t draws) {
  double limit = __builtin_huge_val();
  for (int pass = 0; pass < kLimitPasses; ++pass) {
    int64_t whole = 0;
    double group_lanes[kRowBlock] = {};
    for (int64_t group = 0; group < RowGroups(rows); ++group) {
      double lanes[kRowBlock] = {};
      const int64_t end = Least((group + 1) * kRowGroup, rows);
      for (int64_t row = group * kRowGroup; row < end; row += kRowBlock) {
        const int64_t count = Least(kRowBlock, end - row);
        for (int64_t lane = 0; lane < count; ++lane) {
          const bool is_whole = size[row + lane] >= limit;
          whole += is_whole;
          lanes[lane] += is_whole ? 0.0 : size[row + lane];
        }
      }
      group_lanes[group % kRowBlock] += AddRowLanes(lanes);
    }
    const LimitSums found{AddRowLanes(group_lanes), whole};
    const double lower = LowerLimit(limit, found, draws);
    // Another pass would find the same.
    if (lower == limit) break;
    limit = lower;
  }
  return limit;
}

int64_t LowerSizes(double limit, int64_t begin, int64_t end, double* size) {
  int64_t drawable = 0;
  for (int64_t row = begin; row < end; ++row) {
    size[row] = limit < size[row] ? limit : size[row];
    drawable += size[row] > 0;
  }
  return drawable;
}

void DrawRows(const RowDraw& draw, const double* size, int64_t rows,
              const double* part_sums, const double* group_sums, int64_t begin,
              int64_t end, int64_t* drawn) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kRowBlock;
    const int64_t last = Least(first + kRowBlock, rows);
    const double* before = part_sums + block * kPartsOfBlock;
    const double group_sum = group_sums[first / kRowGroup];
    double running[kRowBlock];
    int64_t ends[kRowBlock];
    double sums[kPartsOfBlock] = {};
    ForEachInTurns(first, last, [&](int64_t part, int64_t row) {
      sums[part] += size[row];
      running[row - first] = group_sum + (before[part] + sums[part]);
    });
    for (int64_t i = 0; i < last - first; ++i) ends[i] = draw.EndOf(running[i]);
    // The rows that are drawn, found without a branch that nobody can foresee.
    int64_t found[kRowBlock + 1];
    int64_t count = 0;
    int64_t place = draw.EndOf(group_sum + before[0]);
    for (int64_t i = 0, previous = place; i < last - first; ++i) {
      found[count] = i;
      count += ends[i] != previous;
      previous = ends[i];
    }
    for (int64_t i = 0; i < count; ++i) {
      for (; place < ends[found[i]]; ++place) drawn[place] = first + found[i];
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_DRAW_INL_H_
