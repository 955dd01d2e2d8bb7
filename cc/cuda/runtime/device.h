// What the CUDA runtime says of the current device, as the plans want it.

#ifndef TF_APPROXGRAD_CC_CUDA_RUNTIME_DEVICE_H_
#define TF_APPROXGRAD_CC_CUDA_RUNTIME_DEVICE_H_

#include "cc/cuda/runtime/device_limits.h"
#include "cc/cuda/runtime/runtime_api.h"

namespace tf_approxgrad {

// Asks only attributes, which never waits for the device, and each device once:
// some of them take as long as a kernel.
cudaError_t ReadCudaDevice(CudaDevice* device);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_RUNTIME_DEVICE_H_
