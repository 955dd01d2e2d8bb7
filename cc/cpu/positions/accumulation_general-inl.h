// The accumulation of what neither a tile nor vectors suit (a few channels on
// large maps), patch by patch.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_GENERAL_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_GENERAL_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Adds one patch to the sums [taps, Ci] of its output channel.
template <typename T, typename Accumulator>
void AddPatch(const ConvGeometry& g, const T* image, Origin origin,
              Accumulator weight, Accumulator* sums) {
  const bool nhwc = g.layout == Layout::kNHWC;
  const int64_t channel_stride = nhwc ? 1 : g.in_rows * g.in_cols;
  const int64_t pixel = nhwc ? g.in_depth : 1;
  const AxisRange rows =
      InsideTaps(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
  const AxisRange cols =
      InsideTaps(origin.col, g.dilation_cols, g.filter_cols, g.in_cols);
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
      Accumulator* tap_sums = sums + (kh * g.filter_cols + kw) * g.in_depth;
      const bool inside = kh >= rows.begin && kh < rows.end &&
                          kw >= cols.begin && kw < cols.end;
      if (inside) {
        const T* from =
            image + ((origin.row + kh * g.dilation_rows) * g.in_cols +
                     origin.col + kw * g.dilation_cols) *
                        pixel;
        for (int64_t ci = 0; ci < g.in_depth; ++ci) {
          tap_sums[ci] += weight * Load(from[ci * channel_stride]);
        }
      } else if (!(weight - weight == 0)) {
        // Zero times a weight that is not finite is NaN: it must show.
        for (int64_t ci = 0; ci < g.in_depth; ++ci) tap_sums[ci] += weight * 0;
      }
    }
  }
}

// Adds the patches of the run that begins with example `first` to the sums of
// one output channel.
template <typename T, typename Accumulator>
void AddGeneralRun(const AccumulationTask<T>& task, int64_t co, int64_t first,
                   Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const double inverse_cols = 1.0 / g.out_cols;
  const int64_t image_size = g.in_rows * g.in_cols * g.in_depth;
  const WeightedPatch<Accumulator>* patch =
      task.patches + FirstPatchOfRun(g, task.plan, task.k, first, co);
  const int64_t images = RunImages(g, task.plan, first);
  for (int64_t n = first; n < first + images; ++n) {
    for (int64_t j = 0; j < task.k; ++j, ++patch) {
      AddPatch(g, task.input + n * image_size,
               OriginOf(g, inverse_cols, patch->place), patch->weight, sums);
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_GENERAL_INL_H_
