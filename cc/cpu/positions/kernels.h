// The kernels of max and sampled, the methods that keep positions, compiled
// once for each instruction set.
//
// Selection: which positions of the output gradient to keep, with what weight;
// see selection.h.
//
// Accumulation: the weighted sum of the kept positions' input patches,
//   dF[kh, kw, ci, co] =
//       scale * sum_n sum_j weight[n, co, j] * patch(X[n], position[n, co, j]).
//
// Scatter, for the input gradient: the weighted sum of the filter's slices at
// the kept positions,
//   dX[n, position[n, co, j] under tap (kh, kw), ci] +=
//       scale * weight[n, co, j] * F[kh, kw, ci, co].
//
// All split into units that don't depend on each other: which thread runs a
// unit does not change a bit of the result.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_KERNELS_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/common/systematic_sampling.h"
#include "cc/cpu/core/packed_filter.h"
#include "cc/cpu/positions/accumulation_plan.h"

namespace tf_approxgrad {

// Channels of a unit of the selection (NHWC).
constexpr int64_t kSelectionChannels = 64;

inline int64_t SelectionBlocks(int64_t channels) {
  return (channels + kSelectionChannels - 1) / kSelectionChannels;
}

inline int64_t SelectionUnits(const ConvGeometry& g) {
  return g.layout == Layout::kNHWC ? g.batch * SelectionBlocks(g.out_depth)
                                   : g.batch * g.out_depth;
}

// A position that was kept: where its patch begins in the tile (kTile), or the
// position itself. patch_list-inl.h says in which order they are listed.
template <typename Accumulator>
struct WeightedPatch {
  int32_t place;
  Accumulator weight;
};

// A call, for the accumulation.
template <typename T>
struct AccumulationTask {
  using Accumulator = typename AccumulatorOf<T>::type;

  const ConvGeometry& g;
  const AccumulationPlan& plan;
  int64_t k;
  Accumulator scale;
  const T* input;
  const WeightedPatch<Accumulator>* patches;
  const int32_t* class_counts;
  T* filter_backprop;
};

// A call, for the scatter; `plan` is of PlanScatter.
template <typename T>
struct ScatterTask {
  using Accumulator = typename AccumulatorOf<T>::type;

  const ConvGeometry& g;
  const AccumulationPlan& plan;
  int64_t k;
  Accumulator scale;
  // [chunks, Co, KH, KW, chunk]
  const Accumulator* packed_filter;
  const WeightedPatch<Accumulator>* patches;
  const int32_t* class_counts;
  T* in_backprop;
};

// Scratch that no other thread uses at the same time.
template <typename Accumulator>
struct WorkerScratch {
  Accumulator* tiles;  // plan.worker_size() elements
  // The chunk that the first tile holds; none at first.
  int64_t packed_chunk = -1;
};

template <typename T>
struct PositionsKernels {
  using Accumulator = typename AccumulatorOf<T>::type;

  // For PlanAccumulation.
  int64_t vector_bytes;

  // Runs the selection's units [begin, end) of SelectionUnits(geometry), and
  // lists the patches as `plan` wants them.
  void (*select)(const ConvGeometry& geometry, const AccumulationPlan& plan,
                 const Selection& selection, const T* out_backprop,
                 int64_t begin, int64_t end,
                 WeightedPatch<Accumulator>* patches);

  // For the output channels [begin, end) of a clipped plan: sorts the patches
  // of each run by the taps that lie inside, and counts them.
  void (*sort)(const ConvGeometry& geometry, const AccumulationPlan& plan,
               int64_t k, int64_t begin, int64_t end,
               WeightedPatch<Accumulator>* patches, int32_t* class_counts);

  // Runs one of the accumulation's plan.units.
  void (*accumulate)(const AccumulationTask<T>& task, int64_t unit,
                     WorkerScratch<Accumulator>* scratch);

  // Packs a chunk of the filter for the output channels [first, last).
  void (*pack_filter)(const ConvGeometry& geometry, const PackedFilter& packed,
                      const T* filter, int64_t chunk, int64_t first,
                      int64_t last, Accumulator* out);

  // Runs one of the scatter's plan.units, with plan.tile_size elements of
  // scratch.
  void (*scatter)(const ScatterTask<T>& task, int64_t unit, Accumulator* tile);
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_KERNELS_H_
