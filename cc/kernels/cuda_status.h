// The CUDA runtime's errors as TensorFlow's. For the *_gpu_kernel.cc files.

#ifndef TF_APPROXGRAD_CC_KERNELS_CUDA_STATUS_H_
#define TF_APPROXGRAD_CC_KERNELS_CUDA_STATUS_H_

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tf_approxgrad {

// `what` completes "CUDA failed in ...".
inline absl::Status CudaStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("CUDA failed in ", what, ": ",
                                          cudaGetErrorString(error), " (",
                                          cudaGetErrorName(error), ")"));
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CUDA_STATUS_H_
