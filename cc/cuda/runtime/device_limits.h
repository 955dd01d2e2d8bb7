// What the plans must know of a GPU. It needs no CUDA header.

#ifndef TF_APPROXGRAD_CC_CUDA_RUNTIME_DEVICE_LIMITS_H_
#define TF_APPROXGRAD_CC_CUDA_RUNTIME_DEVICE_LIMITS_H_

#include <cstdint>

namespace tf_approxgrad {

// The defaults are an H100 (SXM).
struct CudaDevice {
  // 10 * major + minor.
  int compute_capability = 90;
  int64_t multiprocessors = 132;
  // Shared memory that one block may have.
  int64_t shared_bytes_per_block = 227 * 1024;
  int64_t l2_bytes = 50 << 20;
  double clock_hertz = 1.755e9;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_RUNTIME_DEVICE_LIMITS_H_
