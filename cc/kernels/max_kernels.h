// The kernels of the max method, compiled once for each instruction set.
//
// Selection: which positions of the output gradient to keep, with what weight.
// For every example n and output channel co, the k positions of largest |dY|
// are kept (the lowest flattened position first on ties). With r the sum of
// the channel's dY less the sum of the kept ones, a kept position p gets the
// weight dY[p] + r / k, so that the channel's sum survives: for k = 1 the
// weight is the sum itself (Algorithm 1 of Wang and Nelaturu, 2019), and for
// k = Ho * Wo it is dY[p]. A channel that holds a NaN or an infinity gets a
// weight that is not finite, because its sum isn't.
//
// Accumulation: the weighted sum of the kept positions' input patches,
//   dF[kh, kw, ci, co] =
//       scale * sum_n sum_j weight[n, co, j] * patch(X[n], position[n, co, j]).
//
// Both split into units that don't depend on each other: which thread runs a
// unit does not change a bit of the result.

#ifndef TF_APPROXGRAD_CC_KERNELS_MAX_KERNELS_H_
#define TF_APPROXGRAD_CC_KERNELS_MAX_KERNELS_H_

#include <cstdint>

#include "cc/kernels/accumulation_plan.h"
#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/instruction_set.h"

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
// position itself. patch_list_impl.h says in which order they are listed.
template <typename Accumulator>
struct KeptPatch {
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
  const KeptPatch<Accumulator>* patches;
  const int32_t* class_counts;
  T* filter_backprop;
};

// Scratch that no other thread uses at the same time.
template <typename Accumulator>
struct WorkerScratch {
  Accumulator* tiles;  // plan.worker_size() elements
  // The chunk that the first tile holds; none at first.
  int64_t packed_chunk = -1;
};

template <typename T>
struct MaxKernels {
  using Accumulator = typename AccumulatorOf<T>::type;

  // For PlanAccumulation.
  int64_t vector_bytes;

  // Runs the selection's units [begin, end) of SelectionUnits(geometry), with k
  // in [1, Ho * Wo], and lists the patches as `plan` wants them.
  void (*select)(const ConvGeometry& geometry, const AccumulationPlan& plan,
                 int64_t k, const T* out_backprop, int64_t begin, int64_t end,
                 KeptPatch<Accumulator>* patches);

  // For the output channels [begin, end) of a clipped plan: sorts the patches
  // of each run by the taps that lie inside, and counts them.
  void (*sort)(const ConvGeometry& geometry, const AccumulationPlan& plan,
               int64_t k, int64_t begin, int64_t end,
               KeptPatch<Accumulator>* patches, int32_t* class_counts);

  // Runs one of the accumulation's plan.units.
  void (*accumulate)(const AccumulationTask<T>& task, int64_t unit,
                     WorkerScratch<Accumulator>* scratch);
};

// The kernels of an instruction set that the processor has.
template <typename T>
MaxKernels<T> MaxKernelsFor(InstructionSet instruction_set);

namespace baseline {
template <typename T>
MaxKernels<T> GetMaxKernels();
}
#if defined(__x86_64__)
namespace avx2 {
template <typename T>
MaxKernels<T> GetMaxKernels();
}
namespace avx512 {
template <typename T>
MaxKernels<T> GetMaxKernels();
}
#endif

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_MAX_KERNELS_H_
