// Starts the kernels of the selection.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

// Fills `kept`, [N, Co, k], as `plan` says.
template <typename T>
cudaError_t CudaSelect(const ConvGeometry& geometry, const Selection& selection,
                       const CudaPlan& plan, const T* out_backprop,
                       WeightedPosition<typename AccumulatorOf<T>::type>* kept,
                       cudaStream_t stream);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_H_
