// How kernels are started, and how they name shared memory. Only .cu files
// include this.
//
// nvcc compiles them for the device. g++ compiles the very same files for the
// processor where TF_APPROXGRAD_CUDA_ON_CPU is defined: cc/cuda/emulation then
// runs each CUDA thread as a fiber, so that machines without a GPU test
// the kernels. For that, kernels are started by Launch alone, never by <<<>>>,
// and take shared memory from SharedArray and DynamicShared alone.

#ifndef TF_APPROXGRAD_CC_CUDA_RUNTIME_LAUNCH_H_
#define TF_APPROXGRAD_CC_CUDA_RUNTIME_LAUNCH_H_

#include <cstddef>
#include <mutex>
#include <set>
#include <utility>

#ifdef TF_APPROXGRAD_CUDA_ON_CPU
#include "cc/cuda/emulation/cuda.h"
#else
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>
#endif

namespace tf_approxgrad {

struct LaunchShape {
  dim3 grid, block;
  // Of dynamic shared memory a block.
  size_t shared_bytes = 0;
};

#ifndef TF_APPROXGRAD_CUDA_ON_CPU
// An array in a block's shared memory: `__shared__ SharedArray<float, 32> row;`
// or, with two indices, `__shared__ SharedArray<float[33], 32> tile;`. It holds
// nothing until it is written.
template <typename T, int kSize>
struct SharedArray {
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }

  T values[kSize];
};

// The block's LaunchShape::shared_bytes, aligned to 16 bytes; nothing until
// written.
template <typename T>
__device__ T* DynamicShared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared[];
  return reinterpret_cast<T*>(dynamic_shared);
}
#endif

#ifndef TF_APPROXGRAD_CUDA_ON_CPU
// Lets a kernel have as much dynamic shared memory as the device gives a block:
// more than 48 KB, static arrays included, is had only on request. The limit
// belongs to all threads that start the kernel, so that none may set what its
// own launch needs.
inline cudaError_t RaiseSharedLimit(const void* kernel) {
  static std::mutex mutex;
  static std::set<std::pair<int, const void*>> raised;
  int device = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  const std::lock_guard<std::mutex> lock(mutex);
  if (raised.count({device, kernel}) > 0) return cudaSuccess;
  int most = 0;
  cudaFuncAttributes attributes;
  status = cudaDeviceGetAttribute(
      &most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (status == cudaSuccess) {
    status = cudaFuncGetAttributes(&attributes, kernel);
  }
  if (status == cudaSuccess) {
    status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        most - static_cast<int>(attributes.sharedSizeBytes));
  }
  if (status == cudaSuccess) raised.emplace(device, kernel);
  return status;
}
#endif

// Starts `kernel` on `stream` and returns what the runtime says of it, which
// may be the error of an earlier launch. Never waits.
template <typename... Parameters, typename... Arguments>
cudaError_t Launch(const LaunchShape& shape, cudaStream_t stream,
                   void (*kernel)(Parameters...), Arguments... arguments) {
#ifdef TF_APPROXGRAD_CUDA_ON_CPU
  (void)stream;
  return cuda_on_cpu::Run(shape.grid, shape.block, shape.shared_bytes,
                          [=] { kernel(arguments...); });
#else
  if (shape.shared_bytes > 0) {
    const cudaError_t status =
        RaiseSharedLimit(reinterpret_cast<const void*>(kernel));
    if (status != cudaSuccess) {
      // It is returned, so nobody shall find it a second time.
      cudaGetLastError();
      return status;
    }
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (status != cudaSuccess) cudaGetLastError();
  return status;
#endif
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_RUNTIME_LAUNCH_H_
