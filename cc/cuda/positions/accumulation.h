// Starts the kernels of the accumulation.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

// Fills `filter_backprop` [KH, KW, Ci, Co] from `kept` [N, Co, k] as `plan`
// says. `parts` is scratch of plan.splits times as many elements if that is
// above 1.
template <typename T>
cudaError_t CudaAccumulate(
    const ConvGeometry& geometry, int64_t k, const CudaPlan& plan, double scale,
    const T* input,
    const WeightedPosition<typename AccumulatorOf<T>::type>* kept,
    typename AccumulatorOf<T>::type* parts, T* filter_backprop,
    cudaStream_t stream);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_H_
