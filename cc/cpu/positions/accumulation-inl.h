// The driver of the accumulation.
//
// A unit is a few chunks of input channels and a part of the output channels.
// Its loops, from the outside: tiles of examples (copied into the L2 cache for
// kTile), chunks, groups of output channels, runs of examples, and inside the
// kernels output channels and patches. The sums wait in the L2 cache until the
// whole unit is done, because dF is written fastest one row at a time.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/positions/accumulation_clipped-inl.h"
#include "cc/cpu/positions/accumulation_direct-inl.h"
#include "cc/cpu/positions/accumulation_general-inl.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/accumulation_tile-inl.h"
#include "cc/cpu/positions/filter_write-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Adds one run to the sums [channels, taps, chunk] of the output channels
// [co, co + channels).
template <typename T, typename Accumulator>
void AddRun(const AccumulationTask<T>& task, const PatchClasses& classes,
            int64_t chunk, int64_t co, int64_t channels, int64_t first,
            const Accumulator* tile, Accumulator* sums) {
  const AccumulationPlan& plan = task.plan;
  const int64_t channel_size = task.g.taps() * plan.chunk;
  if (plan.path == AccumulationPath::kTile && !plan.clipped) {
    AddTileRun(task, co, channels, first, tile, sums);
    return;
  }
  if (first == 0) {
    __builtin_memset(sums, 0, channels * channel_size * sizeof(Accumulator));
  }
  if (plan.clipped) {
    AddClippedRun(task, classes, co, channels, first, tile, sums);
    return;
  }
  for (int64_t c = 0; c < channels; ++c, sums += channel_size) {
    if (plan.path == AccumulationPath::kDirect) {
      AddDirectRun(task, co + c, chunk, first, sums);
    } else {
      AddGeneralRun(task, co + c, first, sums);
    }
  }
}

template <typename T>
void AccumulateUnit(const AccumulationTask<T>& task, int64_t unit,
                    WorkerScratch<typename AccumulatorOf<T>::type>* scratch) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t first_chunk = unit / plan.parts * plan.unit_chunks;
  const int64_t chunks = Smaller(plan.unit_chunks, plan.chunks - first_chunk);
  const int64_t part = unit % plan.parts;
  const int64_t steps = (g.out_depth + plan.part_step - 1) / plan.part_step;
  const int64_t first_co = steps * part / plan.parts * plan.part_step;
  const int64_t last_co =
      Smaller(steps * (part + 1) / plan.parts * plan.part_step, g.out_depth);
  const int64_t channel_size = g.taps() * plan.chunk;
  Accumulator* sums = scratch->tiles + plan.unit_chunks * plan.tile_size;
  PatchClasses classes;
  if (plan.clipped) classes = ClassifyPatches(g, plan);
  for (int64_t first = 0; first < g.batch; first += plan.tile_images) {
    const int64_t last = Smaller(first + plan.tile_images, g.batch);
    if (plan.path == AccumulationPath::kTile &&
        (plan.tiles > 1 || scratch->packed_chunk != first_chunk)) {
      PackTiles(task, first_chunk, chunks, first, last,
                scratch->packed_chunk < 0, scratch->tiles);
      scratch->packed_chunk = first_chunk;
    }
    for (int64_t c = 0; c < chunks; ++c) {
      for (int64_t co = first_co; co < last_co;) {
        const int64_t group_end = (co / plan.group + 1) * plan.group;
        const int64_t channels = Smaller(group_end, last_co) - co;
        for (int64_t run = first; run < last; run += plan.run_images) {
          AddRun(task, classes, first_chunk + c, co, channels, run,
                 scratch->tiles + c * plan.tile_size,
                 sums + c * plan.sums_size + (co - first_co) * channel_size);
        }
        co += channels;
      }
    }
  }
  for (int64_t c = 0; c < chunks; ++c) {
    WriteSums(task, first_chunk + c, first_co, last_co - first_co,
              sums + c * plan.sums_size);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_INL_H_
