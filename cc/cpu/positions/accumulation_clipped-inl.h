// Patches on maps of a few positions. Most of their taps lie outside: patches
// are sorted into classes that have the same taps inside, and add those alone.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_CLIPPED_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_CLIPPED_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/positions/accumulation_add_patches-inl.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// The class of each position, the taps that a class has inside, and where the
// patch of each position begins in its image (before it, where the first taps
// are outside).
struct PatchClasses {
  int32_t count = 0;
  int32_t of_position[kMostClippedPositions];
  int32_t place_of_position[kMostClippedPositions];
  FilterRange ranges[kMostClippedPositions];
};

inline PatchClasses ClassifyPatches(const ConvGeometry& g,
                                    const AccumulationPlan& plan) {
  PatchClasses classes;
  for (int64_t position = 0; position < g.positions(); ++position) {
    const int64_t row = position / g.out_cols * g.stride_rows - g.pad_top;
    const int64_t col = position % g.out_cols * g.stride_cols - g.pad_left;
    const AxisRange rows =
        InsideTaps(row, g.dilation_rows, g.filter_rows, g.in_rows);
    const AxisRange cols =
        InsideTaps(col, g.dilation_cols, g.filter_cols, g.in_cols);
    const FilterRange range{rows.begin, rows.end, cols.begin, cols.end};
    int32_t found = 0;
    while (found < classes.count && !(classes.ranges[found] == range)) ++found;
    if (found == classes.count) classes.ranges[classes.count++] = range;
    classes.of_position[position] = found;
    classes.place_of_position[position] =
        static_cast<int32_t>((row * g.in_cols + col) * plan.chunk);
  }
  return classes;
}

// Of one channel and run: how many patches each class has.
inline int64_t ClassCountsIndex(const AccumulationPlan& plan, int64_t co,
                                int64_t run) {
  return (co * plan.runs + run) * kMostClippedPositions;
}

// Written in place of the first count where a weight isn't finite.
constexpr int32_t kNotFinite = -1;

template <typename Accumulator>
void SortClippedPatches(const ConvGeometry& g, const AccumulationPlan& plan,
                        int64_t k, int64_t begin, int64_t end,
                        WeightedPatch<Accumulator>* patches,
                        int32_t* class_counts) {
  const PatchClasses classes = ClassifyPatches(g, plan);
  const int64_t image = plan.image_pixels * plan.chunk;
  WeightedPatch<Accumulator> sorted[kMostClippedPatches];
  for (int64_t co = begin; co < end; ++co) {
    for (int64_t run = 0; run < plan.runs; ++run) {
      const int64_t first = run * plan.run_images;
      const int64_t images = RunImages(g, plan, first);
      const int64_t count = images * k;
      WeightedPatch<Accumulator>* list =
          patches + FirstPatchOfRun(g, plan, k, first, co);
      int32_t* counts = class_counts + ClassCountsIndex(plan, co, run);
      int32_t next[kMostClippedPositions] = {};
      bool finite = true;
      for (int64_t i = 0; i < count; ++i) {
        ++next[classes.of_position[list[i].place]];
        finite = finite && list[i].weight - list[i].weight == 0;
      }
      for (int32_t c = 0, before = 0; c < classes.count; ++c) {
        counts[c] = next[c];
        next[c] = before;
        before += counts[c];
      }
      if (!finite) counts[0] = kNotFinite;
      const int64_t run_begin = first % plan.tile_images * image;
      for (int64_t n = 0; n < images; ++n) {
        for (int64_t i = n * k; i < (n + 1) * k; ++i) {
          const int32_t position = list[i].place;
          sorted[next[classes.of_position[position]]++] = {
              static_cast<int32_t>(run_begin + n * image) +
                  classes.place_of_position[position],
              list[i].weight};
        }
      }
      __builtin_memcpy(list, sorted, count * sizeof(sorted[0]));
    }
  }
}

// Adds a run of a tile to the sums of the output channels [co, co + channels).
template <typename T, typename Accumulator>
void AddClippedRun(const AccumulationTask<T>& task, const PatchClasses& classes,
                   int64_t co, int64_t channels, int64_t first,
                   const Accumulator* tile, Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t run = first / plan.run_images;
  const int64_t channel_size = g.taps() * plan.chunk;
  const int64_t patches_of_channel = RunImages(g, plan, first) * task.k;
  const WeightedPatch<Accumulator>* list =
      task.patches + FirstPatchOfRun(g, plan, task.k, first, co);
  PatchRun<Accumulator> runs[kLargestGroup];
  for (int64_t c = 0; c < channels; ++c) {
    runs[c] = {list + c * patches_of_channel, 0};
  }
  for (int32_t cls = 0; cls < classes.count; ++cls) {
    for (int64_t c = 0; c < channels; ++c) {
      const int32_t* counts =
          task.class_counts + ClassCountsIndex(plan, co + c, run);
      runs[c].patches += runs[c].count;
      runs[c].count = counts[0] == kNotFinite ? 0 : counts[cls];
    }
    AddTaps(task, classes.ranges[cls], tile,
            g.dilation_rows * g.in_cols * plan.chunk,
            g.dilation_cols * plan.chunk, runs, channels, false, sums);
  }
  for (int64_t c = 0; c < channels; ++c) {
    if (task.class_counts[ClassCountsIndex(plan, co + c, run)] != kNotFinite) {
      continue;
    }
    // Zero times a weight that is not finite is NaN: it must show in all taps.
    for (int64_t i = 0; i < channel_size; ++i) {
      sums[c * channel_size + i] = __builtin_nan("");
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_CLIPPED_INL_H_
