// The emulated GPU itself: little kernels compute what CUDA says, in every
// order.

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cc/tests/cuda/emulation/run_result.h"

namespace tf_approxgrad {
namespace {

using cuda_on_cpu::Schedule;

constexpr unsigned kAll = 0xffffffffu;

__global__ void Numbers(int* out) {
  const int thread =
      (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const int block =
      (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = 1000 * block + thread;
}

__global__ void ShuffleUp(int* out) {
  out[threadIdx.x] = __shfl_up_sync(kAll, static_cast<int>(threadIdx.x), 3, 16);
}
__global__ void ShuffleDown(int* out) {
  out[threadIdx.x] =
      __shfl_down_sync(kAll, static_cast<int>(threadIdx.x), 3, 16);
}
__global__ void ShuffleXor(int* out) {
  out[threadIdx.x] = __shfl_xor_sync(kAll, static_cast<int>(threadIdx.x), 5);
}
__global__ void ShuffleFrom(int* out) {
  // A double, and an index that wraps around in its segment of 8.
  const double value = threadIdx.x + 0.5;
  out[threadIdx.x] = static_cast<int>(2 * __shfl_sync(kAll, value, 13, 8));
}
__global__ void VotesOfHalfWarps(int* out) {
  const unsigned mask = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  const bool odd = threadIdx.x % 2 == 1;
  unsigned votes = __ballot_sync(mask, odd);
  votes += __any_sync(mask, threadIdx.x == 3) ? 1 : 0;
  votes += __all_sync(mask, threadIdx.x >= 16) ? 2 : 0;
  out[threadIdx.x] = static_cast<int>(votes);
}

// Each block's sum by a tree in shared memory and a warp's shuffles.
__global__ void TreeSum(int* out) {
  __shared__ SharedArray<int, 128> sums;
  int* doubled = DynamicShared<int>();
  sums[threadIdx.x] = threadIdx.x + blockIdx.x;
  doubled[threadIdx.x] = 2 * (threadIdx.x + blockIdx.x);
  __syncthreads();
  for (int half = 64; half >= 32; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) {
      sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
  }
  if (threadIdx.x >= 32) return;
  int sum = sums[threadIdx.x];
  for (int by = 16; by > 0; by /= 2) sum += __shfl_down_sync(kAll, sum, by);
  if (threadIdx.x == 0) out[blockIdx.x] = sum + doubled[127];
}

__global__ void ReverseByWarp(int* out) {
  __shared__ SharedArray<int[32], 2> rows;
  rows[threadIdx.y][threadIdx.x] = threadIdx.x + 100 * threadIdx.y;
  __syncwarp();
  out[threadIdx.y * 32 + threadIdx.x] = rows[threadIdx.y][31 - threadIdx.x];
}

__global__ void CopyAhead(int* out) {
  __shared__ SharedArray<int4, 2> stages;
  int4* global = reinterpret_cast<int4*>(out);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      __pipeline_memcpy_async(&stages[i], &global[i], sizeof(int4), 4 * i);
      __pipeline_commit();
    }
    __pipeline_wait_prior(1);
    global[2] = stages[0];
    __pipeline_wait_prior(0);
    global[3] = stages[1];
  }
}

void TestComputesWhatCudaSays() {
  struct Case {
    const char* name;
    IntKernel kernel;
    LaunchShape shape;
    int size;
    std::function<int64_t(int)> expected;
  };
  const Case cases[] = {
      {"Numbers",
       Numbers,
       {dim3(2, 3, 2), dim3(5, 2, 3)},
       360,
       [](int i) { return 1000 * (i / 30) + i % 30; }},
      {"ShuffleUp",
       ShuffleUp,
       {1, 64},
       64,
       [](int i) { return i % 16 < 3 ? i : i - 3; }},
      {"ShuffleDown",
       ShuffleDown,
       {1, 64},
       64,
       [](int i) { return i % 16 > 12 ? i : i + 3; }},
      {"ShuffleXor", ShuffleXor, {1, 64}, 64, [](int i) { return i ^ 5; }},
      {"ShuffleFrom",
       ShuffleFrom,
       {1, 64},
       64,
       [](int i) { return 2 * (i / 8 * 8 + 5) + 1; }},
      {"VotesOfHalfWarps",
       VotesOfHalfWarps,
       {1, 64},
       64,
       [](int i) {
         const int64_t odd = i % 32 < 16 ? 0x0000aaaa : 0xaaaa0000;
         return static_cast<int32_t>(odd + (i < 16 ? 1 : 0) +
                                     (i >= 16 ? 2 : 0));
       }},
      {"TreeSum",
       TreeSum,
       {3, 128, 128 * sizeof(int)},
       3,
       [](int i) { return 128 * 127 / 2 + 128 * i + 2 * (127 + i); }},
      {"ReverseByWarp",
       ReverseByWarp,
       {1, dim3(32, 2)},
       64,
       [](int i) { return 31 - i % 32 + 100 * (i / 32); }},
  };
  for (const Schedule& schedule : kSchedules) {
    cuda_on_cpu::schedule = schedule;
    for (const Case& c : cases) {
      const std::vector<int> result = Result(c.kernel, c.shape, c.size);
      for (int i = 0; i < c.size; ++i) {
        Check(result[i] == c.expected(i), std::string(c.name) + ": element " +
                                              std::to_string(i) + " is " +
                                              std::to_string(result[i]));
      }
    }
    alignas(16) int values[16] = {1, 2, 3, 4, 5, 6, 7, 8};
    Launch({1, 32}, nullptr, CopyAhead, values);
    const int expected[] = {1, 2, 3, 4, 5, 6, 7, 0};
    Check(std::memcmp(values + 8, expected, sizeof(expected)) == 0,
          "CopyAhead");
  }
}

void TestRefusesLaunchesThatHardwareRefuses() {
  for (const LaunchShape& shape :
       {LaunchShape{0, 32}, LaunchShape{1, 0}, LaunchShape{1, dim3(32, 33)},
        LaunchShape{1, dim3(1, 1, 65)}, LaunchShape{dim3(1, 65536), 32},
        LaunchShape{1, 32, 228 * 1024}}) {
    int value = 0;
    Check(Launch(shape, nullptr, Numbers, &value) != cudaSuccess,
          "a launch that no hardware takes");
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestComputesWhatCudaSays();
  TestRefusesLaunchesThatHardwareRefuses();
  return FailedChecks("cuda/emulation/emulation_test");
}
