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
//       scale * sum_n sum_j weight[co, n, j] * patch(X[n], position[co, n, j]).
//
// Between them, where a tile is planned, Listing turns positions into places in
// the tile once, for all chunks of input channels.
//
// All split into units that don't depend on each other: which thread runs a
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

template <typename T>
struct MaxKernels {
  using Accumulator = typename AccumulatorOf<T>::type;

  // For PlanAccumulation.
  int64_t vector_bytes;

  // Runs the selection's units [begin, end) of SelectionUnits(geometry), with k
  // in [1, Ho * Wo]. Writes [Co, N, k] positions and weights.
  void (*select)(const ConvGeometry& geometry, const T* out_backprop, int64_t k,
                 int64_t begin, int64_t end, int32_t* positions,
                 Accumulator* weights);

  // For the output channels [begin, end) of a plan with the path kTile:
  // replaces the selection's results by what the accumulation wants, with
  // plan.class_counts_size counts in `class_counts`.
  void (*list)(const ConvGeometry& geometry, const AccumulationPlan& plan,
               int64_t k, int64_t begin, int64_t end, Accumulator* tile,
               int32_t* positions, int32_t* class_counts, Accumulator* weights);

  // Runs the accumulation's units [begin, end) of plan.units. `tile` is scratch
  // of plan.tile_size elements that no other thread uses at the same time,
  // `sums` of plan.sums_size elements for all threads together.
  void (*accumulate)(const ConvGeometry& geometry, const AccumulationPlan& plan,
                     int64_t k, double scale, const T* input,
                     const int32_t* positions, const int32_t* class_counts,
                     const Accumulator* weights, int64_t begin, int64_t end,
                     Accumulator* tile, Accumulator* sums, T* filter_backprop);
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
