// How kernels are started, and how they name shared memory. Only .cu files
// include this.
//
// nvcc compiles them for the device. g++ compiles the very same files for the
// processor where TF_APPROXGRAD_CUDA_ON_CPU is defined: cc/tests/cuda_on_cpu.h
// then runs each CUDA thread as a fiber, so that machines without a GPU test
// the kernels. For that, kernels are started by Launch alone, never by <<<>>>,
// and take shared memory from SharedArray and DynamicShared alone.

#ifndef TF_APPROXGRAD_CC_KERNELS_LAUNCH_H_
#define TF_APPROXGRAD_CC_KERNELS_LAUNCH_H_

#include <cstddef>

#ifdef TF_APPROXGRAD_CUDA_ON_CPU
#include "cc/tests/cuda_on_cpu.h"
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
    // More than 48 KB, static arrays included, is had only on request.
    const cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(shape.shared_bytes));
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

#endif  // TF_APPROXGRAD_CC_KERNELS_LAUNCH_H_
