// The driver of the selection, for max and sampled.
//
// How the work is partitioned. NHWC: a unit is one example and up to
// kSelectionChannels channels; the rows of dY are read front to back, each row
// of the block contiguous, with the running sums, maxima and positions in
// registers. NCHW: a unit is one plane. Units that follow each other read
// neighbouring memory.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/selection_max-inl.h"
#include "cc/cpu/positions/selection_max_heap-inl.h"
#include "cc/cpu/positions/selection_max_sorted-inl.h"
#include "cc/cpu/positions/selection_sampled-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// The largest of one unit of NHWC: `width` channels from `co` on, which begin
// at `values`.
template <typename T, typename Accumulator>
void SelectBlock(const ConvGeometry& g, const T* values, int64_t co, int width,
                 int64_t k, const PatchWriter<Accumulator>& writer) {
  constexpr int kWidth = kLanes<Accumulator>;
  for (int done = 0; done < width;) {
    const int left = width - done;
    if (k == g.positions()) {
      KeepAll(values + done, g.positions(), g.out_depth, co + done, writer);
      done += 1;
    } else if (k > kMostSorted) {
      KeepHeap(values + done, g.positions(), g.out_depth, co + done, k, writer);
      done += 1;
    } else if (k > 1 && left >= kBlockVectors * kWidth) {
      KeepSorted<kBlockVectors, false>(values + done, g, co + done,
                                       kBlockVectors * kWidth, k, writer);
      done += kBlockVectors * kWidth;
    } else if (k > 1 && left >= kWidth) {
      KeepSorted<1, false>(values + done, g, co + done, kWidth, k, writer);
      done += kWidth;
    } else if (k > 1) {
      KeepSorted<1, true>(values + done, g, co + done, left, k, writer);
      done += left;
    } else if (left >= kBlockVectors * kWidth) {
      KeepLargest<kBlockVectors, false>(values + done, g, co + done,
                                        kBlockVectors * kWidth, writer);
      done += kBlockVectors * kWidth;
    } else if (left >= 2 * kWidth) {
      KeepLargest<2, false>(values + done, g, co + done, 2 * kWidth, writer);
      done += 2 * kWidth;
    } else if (left >= kWidth) {
      KeepLargest<1, false>(values + done, g, co + done, kWidth, writer);
      done += kWidth;
    } else {
      KeepLargest<1, true>(values + done, g, co + done, left, writer);
      done += left;
    }
  }
}

// And of one of NCHW.
template <typename T, typename Accumulator>
void SelectPlane(const ConvGeometry& g, const T* values, int64_t co, int64_t k,
                 const PatchWriter<Accumulator>& writer) {
  if (k == g.positions()) {
    KeepAll(values, g.positions(), 1, co, writer);
  } else if (k == 1) {
    KeepLargestOfPlane(values, g.positions(), co, writer);
  } else {
    KeepSeveralOfPlane(values, g.positions(), co, k, writer);
  }
}

// The units [first, last) of one example.
template <typename T, typename Accumulator>
void SelectOfExample(const ConvGeometry& g, const Selection& selection,
                     const T* image, int64_t example, int64_t first,
                     int64_t last, const PatchWriter<Accumulator>& writer) {
  const int64_t k = selection.k;
  const bool samples =
      selection.method == SelectionMethod::kSampled && k < g.positions();
  const bool planes = g.layout == Layout::kNCHW;
  // Of NCHW's units, as many as a unit of NHWC has channels share vectors.
  const int64_t units = planes && samples ? kSelectionChannels : 1;
  for (int64_t unit = first; unit < last; unit += units) {
    const int64_t co = planes ? unit : unit * kSelectionChannels;
    const int64_t channels =
        planes ? Smaller(units, last - unit)
               : Smaller(kSelectionChannels, g.out_depth - co);
    const int width = static_cast<int>(channels);
    const T* values = image + (planes ? co * g.positions() : co);
    if (samples) {
      const BlockUniforms<Accumulator> uniforms(selection.stream,
                                                example * g.out_depth + co);
      if (planes) {
        SamplePlanes(g, values, co, width, k, uniforms.one_less_u, writer);
      } else {
        SampleBlock(g, values, co, width, k, uniforms.one_less_u, writer);
      }
    } else if (planes) {
      SelectPlane(g, values, co, k, writer);
    } else {
      SelectBlock(g, values, co, width, k, writer);
    }
  }
}

template <typename T>
void SelectUnits(const ConvGeometry& g, const AccumulationPlan& plan,
                 const Selection& selection, const T* out_backprop,
                 int64_t begin, int64_t end,
                 WeightedPatch<typename AccumulatorOf<T>::type>* patches) {
  const int64_t image_size = g.positions() * g.out_depth;
  const int64_t image_units =
      g.layout == Layout::kNHWC ? SelectionBlocks(g.out_depth) : g.out_depth;
  while (begin < end) {
    const int64_t example = begin / image_units;
    const PatchWriter<typename AccumulatorOf<T>::type> writer(
        g, plan, selection.k, example, patches);
    const int64_t first = begin % image_units;
    const int64_t last = Smaller(first + (end - begin), image_units);
    SelectOfExample(g, selection, out_backprop + example * image_size, example,
                    first, last, writer);
    begin += last - first;
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SELECTION_INL_H_
