// The max method from end to end: selection, then accumulation, each spread
// over the threads that the caller offers.

#ifndef TF_APPROXGRAD_CC_KERNELS_MAX_GRADIENT_H_
#define TF_APPROXGRAD_CC_KERNELS_MAX_GRADIENT_H_

#include <cstdint>
#include <functional>

#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"

namespace tf_approxgrad {

// Calls work(begin, end) over disjoint ranges that cover [0, units), on any
// threads, and returns when all are done. `cycles_per_unit` is an estimate.
using ParallelFor = std::function<void(
    int64_t units, int64_t cycles_per_unit,
    const std::function<void(int64_t begin, int64_t end)>& work)>;

// Elements of scratch that MaxGradient needs; k at most Ho * Wo.
struct MaxGradientScratch {
  int64_t kept;  // int32 positions, and as many accumulators for the weights
  int64_t sums;  // accumulators
};
MaxGradientScratch MaxGradientScratchSizes(const ConvGeometry& geometry,
                                           int64_t k);

// Writes every element of `filter_backprop` [KH, KW, Ci, Co]. All sizes of
// `geometry` must be positive and k in [1, Ho * Wo].
template <typename T>
void MaxGradient(const ConvGeometry& geometry, int64_t k, double scale,
                 const T* input, const T* out_backprop, int32_t* kept_positions,
                 typename AccumulatorOf<T>::type* kept_weights,
                 typename AccumulatorOf<T>::type* sums, T* filter_backprop,
                 const ParallelFor& parallel_for);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_MAX_GRADIENT_H_
