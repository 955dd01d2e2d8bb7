// What little kernels leave in memory, for the tests of the emulated GPU.

#ifndef TF_APPROXGRAD_CC_TESTS_CUDA_EMULATION_RUN_RESULT_H_
#define TF_APPROXGRAD_CC_TESTS_CUDA_EMULATION_RUN_RESULT_H_

#include <cstddef>
#include <vector>

#include "cc/cuda/runtime/launch.h"
#include "cc/tests/check.h"

namespace tf_approxgrad {

using IntKernel = void (*)(int*);

constexpr cuda_on_cpu::Schedule kSchedules[] = {
    {cuda_on_cpu::Schedule::kForward, 0, 0xff},
    {cuda_on_cpu::Schedule::kReverse, 0, 0x55},
    {cuda_on_cpu::Schedule::kShuffled, 1, 0xff},
    {cuda_on_cpu::Schedule::kShuffled, 2, 0x7e}};

// The `size` integers that `kernel` is given to write.
inline std::vector<int> Result(IntKernel kernel, const LaunchShape& shape,
                               size_t size) {
  int* memory = nullptr;
  cudaMalloc(&memory, size * sizeof(int));
  const cudaError_t status = Launch(shape, nullptr, kernel, memory);
  Check(status == cudaSuccess, cudaGetErrorString(status));
  const std::vector<int> result(memory, memory + size);
  cudaFree(memory);
  return result;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CUDA_EMULATION_RUN_RESULT_H_
