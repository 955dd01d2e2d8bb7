// Where the tests of the CUDA kernels run: nvcc makes them for a GPU, g++ with
// TF_APPROXGRAD_CUDA_ON_CPU for the emulated one, which is thorough and slow.

#ifndef TF_APPROXGRAD_CC_TESTS_CUDA_TEST_DEVICE_H_
#define TF_APPROXGRAD_CC_TESTS_CUDA_TEST_DEVICE_H_

#include <cstdio>
#include <cstdlib>

#include "cc/cuda/runtime/device.h"
#include "cc/cuda/runtime/device_limits.h"
#include "cc/cuda/runtime/runtime_api.h"
#include "cc/tests/cuda/device_array.h"

namespace tf_approxgrad {

#ifdef TF_APPROXGRAD_CUDA_ON_CPU
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

// Runs of the same kernels on the same numbers, which must give the same bits.
constexpr int kRepeats = 2;

// Lets the emulated GPU run threads and blocks in another order, over other
// garbage, in each repeat.
inline void StartRepeat(int repeat) {
#ifdef TF_APPROXGRAD_CUDA_ON_CPU
  using cuda_on_cpu::Schedule;
  static unsigned seed = 0;
  cuda_on_cpu::schedule = {Schedule::kForward, 0, 0xff};
  if (repeat > 0) {
    ++seed;
    cuda_on_cpu::schedule = {
        seed % 2 == 0 ? Schedule::kReverse : Schedule::kShuffled, seed, 0x55};
  }
#else
  (void)repeat;
#endif
}

// Ends the program with status 2 where there is no GPU.
inline CudaDevice TestDevice() {
#ifndef TF_APPROXGRAD_CUDA_ON_CPU
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "No GPU is here (%s): this program needs one.\n",
                 cudaGetErrorString(status));
    std::exit(2);
  }
#endif
  CudaDevice device;
  Must(ReadCudaDevice(&device), "reading the GPU's attributes");
  return device;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CUDA_TEST_DEVICE_H_
