// cudaError_t and cudaStream_t, for headers that g++ reads too.

#ifndef TF_APPROXGRAD_CC_CUDA_RUNTIME_RUNTIME_API_H_
#define TF_APPROXGRAD_CC_CUDA_RUNTIME_RUNTIME_API_H_

#ifdef TF_APPROXGRAD_CUDA_ON_CPU
#include "cc/cuda/emulation/cuda.h"
#else
#include <cuda_runtime_api.h>
#endif

#endif  // TF_APPROXGRAD_CC_CUDA_RUNTIME_RUNTIME_API_H_
