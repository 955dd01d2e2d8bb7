// The scatter of what no tile suits (a few channels on large maps, positions
// that see no input), patch by patch.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_GENERAL_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_GENERAL_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// One patch, tap by tap, into an example's sums [H, W, Ci].
template <typename T, typename Accumulator>
void ScatterPatch(const ScatterTask<T>& task, int64_t co, Origin origin,
                  Accumulator weight, Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const AxisRange rows =
      InsideTaps(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
  const AxisRange cols =
      InsideTaps(origin.col, g.dilation_cols, g.filter_cols, g.in_cols);
  const Accumulator* slice =
      task.packed_filter + co * g.taps() * task.plan.chunk;
  if ((rows.begin == rows.end || cols.begin == cols.end) &&
      !(weight - weight == 0)) {
    // Nothing of it would show.
    for (int64_t i = 0; i < g.in_rows * g.in_cols * g.in_depth; ++i) {
      sums[i] = __builtin_nan("");
    }
  }
  for (int64_t kh = rows.begin; kh < rows.end; ++kh) {
    for (int64_t kw = cols.begin; kw < cols.end; ++kw) {
      Accumulator* to =
          sums + ((origin.row + kh * g.dilation_rows) * g.in_cols + origin.col +
                  kw * g.dilation_cols) *
                     g.in_depth;
      const Accumulator* tap =
          slice + (kh * g.filter_cols + kw) * task.plan.chunk;
      for (int64_t ci = 0; ci < g.in_depth; ++ci) to[ci] += weight * tap[ci];
    }
  }
}

template <typename T, typename Accumulator>
void ScatterExample(const ScatterTask<T>& task, int64_t example,
                    Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const double inverse_cols = 1.0 / g.out_cols;
  for (int64_t co = 0; co < g.out_depth; ++co) {
    const WeightedPatch<Accumulator>* patch =
        task.patches + FirstPatchOfRun(g, task.plan, task.k, example, co);
    for (int64_t j = 0; j < task.k; ++j, ++patch) {
      ScatterPatch(task, co, OriginOf(g, inverse_cols, patch->place),
                   patch->weight, sums);
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_GENERAL_INL_H_
