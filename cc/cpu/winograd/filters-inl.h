// Filters transformed for the input gradient.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_FILTERS_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_FILTERS_INL_H_

#include <cstdint>

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/points-inl.h"
#include "cc/cpu/winograd/product-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// A vector of dX's channels of one channel of dY: its taps, kTaps a row,
// `stride` vectors apart.
inline void TransformFilter(const Vector<float>* taps, int64_t stride,
                            float* transformed, int64_t plane_stride) {
  Vector<float> half[kPoints][kTaps];
#pragma GCC unroll 3
  for (int col = 0; col < kTaps; ++col) {
    Vector<float> of_col[kTaps];
    Vector<float> at[kPoints];
#pragma GCC unroll 3
    for (int row = 0; row < kTaps; ++row) {
      of_col[row] = taps[(row * kTaps + col) * stride];
    }
    FilterTransform(of_col, at);
#pragma GCC unroll 6
    for (int point = 0; point < kPoints; ++point) half[point][col] = at[point];
  }
#pragma GCC unroll 6
  for (int row = 0; row < kPoints; ++row) {
    Vector<float> at[kPoints];
    FilterTransform(half[row], at);
#pragma GCC unroll 6
    for (int col = 0; col < kPoints; ++col) {
      StoreVector(at[col], transformed + (row * kPoints + col) * plane_stride);
    }
  }
}

// Transforms the filters of one panel of dX's channels and the channels [begin,
// end) of dY to [plane, end - begin, kPanelWidth]. In memory the channels of dY
// lie next to each other, here those of dX: squares of both change places.
inline void TransformFiltersTo(const WinogradInputTask& task, int64_t panel,
                               int64_t begin, int64_t end, float* transformed) {
  constexpr int kWidth = kLanes<float>;
  const ConvGeometry& g = task.g;
  const WinogradInputPlan& plan = task.plan;
  for (int64_t v = 0; v < kPanelWidth; v += kWidth) {
    const int64_t first = panel * kPanelWidth + v;
    if (first >= g.out_depth) break;
    for (int64_t channel = begin; channel < end; channel += kWidth) {
      const int64_t left = end - channel < kWidth ? end - channel : kWidth;
      Vector<float> square[kTaps * kTaps][kWidth] = {};
      for (int tap = 0; tap < kTaps * kTaps; ++tap) {
        // The input gradient's filters are turned round.
        const float* taps =
            task.filters +
            ((kTaps * kTaps - 1 - tap) * g.out_depth + first) * g.in_depth +
            channel;
        for (int row = 0; row < kWidth && first + row < g.out_depth; ++row) {
          if (left == kWidth) {
            square[tap][row] = LoadVector(taps + row * g.in_depth);
          } else {
            float values[kWidth] = {};
            for (int64_t c = 0; c < left; ++c) {
              values[c] = taps[row * g.in_depth + c];
            }
            square[tap][row] = LoadVector(values);
          }
        }
        Transpose<float>(square[tap]);
      }
      float* own = transformed + (channel - begin) * kPanelWidth + v;
      for (int64_t c = 0; c < left; ++c) {
        TransformFilter(&square[0][c], kWidth, own + c * kPanelWidth,
                        plan.filter_plane());
      }
    }
  }
}

// The kernels' `transform_filters`.
void TransformFilters(const WinogradInputTask& task, int64_t panel,
                      int64_t begin, int64_t end) {
  TransformFiltersTo(task, panel, begin, end,
                     task.transformed_filters +
                         (panel * task.plan.in_depth + begin) * kPanelWidth);
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_FILTERS_INL_H_
