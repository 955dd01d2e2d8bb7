// Selection: which positions of the output gradient to keep, with what weight.
//
// For every example n and output channel co, the k positions of largest |dY|
// are kept (the lowest flattened position first on ties). With r the sum of
// the channel's dY less the sum of the kept ones, a kept position p gets the
// weight dY[p] + r / k, so that the channel's sum survives: for k = 1 the
// weight is the sum itself (Algorithm 1 of Wang and Nelaturu, 2019), and for
// k = Ho * Wo it is dY[p].
//
// A channel that holds a NaN or an infinity gets a non-finite weight, because
// its sum is not finite.

#ifndef TF_APPROXGRAD_CC_KERNELS_SELECTION_H_
#define TF_APPROXGRAD_CC_KERNELS_SELECTION_H_

#include <cstdint>

#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"

namespace tf_approxgrad {

// Where the selection goes: [N, Co, k] each, positions ascending.
template <typename Accumulator>
struct KeptPositions {
  int64_t k = 0;
  int32_t* positions = nullptr;
  Accumulator* weights = nullptr;
};

// Pieces of work that the selection splits into; each is independent of the
// others, and which thread runs it does not change a bit of the result.
int64_t SelectionUnits(const ConvGeometry& geometry);

// Runs the units [begin, end). `kept.k` must lie in [1, Ho * Wo].
template <typename T>
void SelectLargest(const ConvGeometry& geometry, const T* out_backprop,
                   int64_t begin, int64_t end,
                   KeptPositions<typename AccumulatorOf<T>::type> kept);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_SELECTION_H_
