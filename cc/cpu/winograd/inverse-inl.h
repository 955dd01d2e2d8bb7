// What the products add up to, as taps of dF.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_INVERSE_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_INVERSE_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
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

// A vector of output channels of one input channel.
inline void WriteTaps(const float* sums, int64_t plane_stride, int64_t left,
                      int64_t tap_stride, float* out) {
  Vector<float> half[kTaps][kPoints];
#pragma GCC unroll 6
  for (int col = 0; col < kPoints; ++col) {
    Vector<float> points[kPoints];
    Vector<float> taps[kTaps];
#pragma GCC unroll 6
    for (int row = 0; row < kPoints; ++row) {
      points[row] = LoadVector(sums + (row * kPoints + col) * plane_stride);
    }
    InverseTransform(points, taps);
#pragma GCC unroll 3
    for (int row = 0; row < kTaps; ++row) half[row][col] = taps[row];
  }
  for (int row = 0; row < kTaps; ++row) {
    Vector<float> taps[kTaps];
    InverseTransform(half[row], taps);
    for (int col = 0; col < kTaps; ++col) {
      StoreLanes(taps[col], left, out);
      out += tap_stride;
    }
  }
}

// The input channels [first_in, end_in) of one panel of output channels, whose
// sums are [end_in - first_in, kPanelWidth] in each plane.
inline void WriteChannels(const WinogradTask& task, const float* sums,
                          int64_t plane_stride, int64_t first_in,
                          int64_t end_in, int64_t out_panel) {
  const ConvGeometry& g = task.g;
  const int64_t first_out = out_panel * kPanelWidth;
  for (int64_t c = first_in; c < end_in; ++c) {
    for (int64_t v = 0; v < kPanelWidth; v += kLanes<float>) {
      const int64_t left = g.out_depth - first_out - v;
      if (left <= 0) break;
      WriteTaps(sums + v, plane_stride, left, g.in_depth * g.out_depth,
                task.filter_backprop + c * g.out_depth + first_out + v);
    }
    sums += kPanelWidth;
  }
}

inline int64_t EndOfInBlock(const ConvGeometry& g, int64_t in_block) {
  const int64_t end = (in_block + 1) * kInBlock;
  return end < g.in_depth ? end : g.in_depth;
}

// The kernels' `finish_in_block`. Pieces are added in their order, some input
// channels at a time so that a plane is read in whole runs and all planes fit
// L1.
void FinishInBlock(const WinogradTask& task, const float* sums,
                   int64_t in_block) {
  constexpr int kWidth = kLanes<float>;
  constexpr int64_t kChannels = 128 / kPanelWidth;
  constexpr int64_t kRun = kChannels * kPanelWidth;
  const WinogradPlan& plan = task.plan;
  const int64_t end = EndOfInBlock(task.g, in_block);
  alignas(64) float added[kPlanes * kRun];
  for (int64_t panel = 0; panel < plan.out_panels; ++panel) {
    for (int64_t c = in_block * kInBlock; c < end; c += kChannels) {
      const float* from =
          sums + (panel * plan.in_blocks * kInBlock + c) * kPanelWidth;
      for (int plane = 0; plane < kPlanes; ++plane) {
        Vector<float> run[kRun / kWidth];
        for (int v = 0; v < kRun / kWidth; ++v) {
          run[v] = LoadVector(from + v * kWidth);
        }
        for (int64_t piece = 1; piece < plan.pieces; ++piece) {
          const float* more = from + piece * plan.sums_size();
          for (int v = 0; v < kRun / kWidth; ++v) {
            run[v] += LoadVector(more + v * kWidth);
          }
        }
        for (int v = 0; v < kRun / kWidth; ++v) {
          StoreVector(run[v], added + plane * kRun + v * kWidth);
        }
        from += plan.sums_plane();
      }
      const int64_t last = c + kChannels < end ? c + kChannels : end;
      WriteChannels(task, added, kRun, c, last, panel);
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_INVERSE_INL_H_
