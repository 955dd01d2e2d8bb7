// normal_numbers.h's numbers, drawn on a GPU: the same bits for the same
// (seed, layer, step).

#ifndef TF_APPROXGRAD_CC_CUDA_RANDOM_FILL_NORMAL_H_
#define TF_APPROXGRAD_CC_CUDA_RANDOM_FILL_NORMAL_H_

#include <cstdint>

#include "cc/common/normal_numbers.h"
#include "cc/common/random_stream.h"
#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

// Fills `output`, device memory of `size` elements from 1 to kMostNormals, with
// stddev times normal numbers. Returns the error of a launch that failed.
template <typename T>
cudaError_t CudaFillNormal(const RandomStream& numbers, double stddev,
                           int64_t size, T* output, cudaStream_t stream);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_RANDOM_FILL_NORMAL_H_
