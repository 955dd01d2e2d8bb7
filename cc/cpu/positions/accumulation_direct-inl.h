// Accumulation from X where it lies. It pays where each pixel is used about
// once. The taps of a border patch that fall outside read a row of zeros
// instead.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_DIRECT_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_DIRECT_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/positions/accumulation_add_patches-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Patches that are listed before they are added.
constexpr int kListedPatches = 256;

// A bit for each tap of one axis that lies inside the input.
inline uint64_t InsideBits(int64_t origin, int64_t dilation, int64_t taps,
                           int64_t size) {
  uint64_t bits = 0;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t index = origin + tap * dilation;
    bits |= static_cast<uint64_t>(index >= 0 && index < size) << tap;
  }
  return bits;
}

// Adds the patches of the run that begins with example `first` to the sums of
// one output channel.
template <typename T, typename Accumulator>
void AddDirectRun(const AccumulationTask<T>& task, int64_t co, int64_t chunk,
                  int64_t first, Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const double inverse_cols = 1.0 / g.out_cols;
  const int64_t pixel = g.in_depth;
  const int64_t row_size = pixel * g.in_cols;
  const int64_t image = row_size * g.in_rows;
  const int64_t row_stride = g.dilation_rows * row_size;
  const int64_t col_stride = g.dilation_cols * pixel;
  const int64_t row_span = (g.filter_rows - 1) * g.dilation_rows;
  const int64_t col_span = (g.filter_cols - 1) * g.dilation_cols;
  const FilterRange all{0, g.filter_rows, 0, g.filter_cols};
  // This path is planned only where X holds accumulators already.
  const Accumulator* input = reinterpret_cast<const Accumulator*>(task.input) +
                             first * image + chunk * task.plan.chunk;

  WeightedPatch<Accumulator> inside[kListedPatches];
  WeightedPatch<Accumulator> border[kListedPatches];
  uint64_t border_rows[kListedPatches];
  uint64_t border_cols[kListedPatches];
  const WeightedPatch<Accumulator>* patch =
      task.patches + FirstPatchOfRun(g, task.plan, task.k, first, co);
  const WeightedPatch<Accumulator>* const end =
      patch + RunImages(g, task.plan, first) * task.k;
  int64_t example = 0;
  int64_t rank = 0;
  while (patch != end) {
    int64_t inside_count = 0;
    int64_t border_count = 0;
    const int64_t listed = Smaller(end - patch, kListedPatches);
    for (int64_t i = 0; i < listed; ++i, ++patch) {
      const Origin origin = OriginOf(g, inverse_cols, patch->place);
      const int32_t place = static_cast<int32_t>(
          example + origin.row * row_size + origin.col * pixel);
      if (origin.row >= 0 && origin.row + row_span < g.in_rows &&
          origin.col >= 0 && origin.col + col_span < g.in_cols) {
        inside[inside_count++] = {place, patch->weight};
      } else {
        border[border_count] = {place, patch->weight};
        border_rows[border_count] =
            InsideBits(origin.row, g.dilation_rows, g.filter_rows, g.in_rows);
        border_cols[border_count++] =
            InsideBits(origin.col, g.dilation_cols, g.filter_cols, g.in_cols);
      }
      if (++rank == task.k) {
        rank = 0;
        example += image;
      }
    }
    if (inside_count > 0) {
      const PatchRun<Accumulator> run{inside, inside_count};
      AddTaps(task, all, input, row_stride, col_stride, &run, 1, false, sums);
    }
    if (border_count > 0) {
      const BorderRun<Accumulator> run{
          {border, border_count}, border_rows, border_cols};
      AddTaps(task, all, input, row_stride, col_stride, &run, 1, false, sums);
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_DIRECT_INL_H_
