// Starts the kernels of the selection.

#ifndef TF_APPROXGRAD_CC_KERNELS_CUDA_SELECTION_H_
#define TF_APPROXGRAD_CC_KERNELS_CUDA_SELECTION_H_

#include <cstdint>

#include "cc/kernels/cuda_kept.h"
#include "cc/kernels/cuda_plan.h"
#include "cc/kernels/cuda_runtime_api.h"
#include "cc/kernels/selection.h"

namespace tf_approxgrad {

// Fills `kept`, [N, Co, k], as `plan` says.
template <typename T>
cudaError_t CudaSelect(const ConvGeometry& geometry, const Selection& selection,
                       const CudaPlan& plan, const T* out_backprop,
                       CudaKept<typename AccumulatorOf<T>::type>* kept,
                       cudaStream_t stream);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CUDA_SELECTION_H_
