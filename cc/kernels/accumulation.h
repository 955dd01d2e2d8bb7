// Accumulation: the weighted sum of the kept positions' input patches,
//   dF[kh, kw, ci, co] =
//       scale * sum_n sum_j weight[n, co, j] * patch(X[n], position[n, co, j]).

#ifndef TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_H_
#define TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_H_

#include <cstdint>

#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/selection.h"

namespace tf_approxgrad {

// Pieces of work that the accumulation splits into: blocks of output
// channels. A block adds the examples up in their order, so that the result
// is the same to the bit for any number of threads.
int64_t AccumulationUnits(const ConvGeometry& geometry);

// Runs the units [begin, end). `sums` is scratch of Co * KH * KW * Ci
// elements, of which a unit uses its own channels' part.
template <typename T>
void AccumulatePatches(const ConvGeometry& geometry, const T* input,
                       KeptPositions<typename AccumulatorOf<T>::type> kept,
                       double scale, int64_t begin, int64_t end,
                       typename AccumulatorOf<T>::type* sums,
                       T* filter_backprop);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_H_
