// The emulated GPU itself: the mistakes that it is there to find. Most end the
// process, so each of those is made in a child.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cc/tests/cuda/emulation/run_result.h"

namespace tf_approxgrad {
namespace {

constexpr unsigned kAll = 0xffffffffu;

// Kernels that are stopped.

__global__ void BarrierOfSome(int*) {
  if (threadIdx.x < 32) __syncthreads();
}
__global__ void TwoBarriers(int*) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void MaskOfTheMissing(int* out) {
  if (threadIdx.x % 32 < 16) out[0] = __shfl_xor_sync(kAll, 1, 1);
}
__global__ void MasksThatDiffer(int* out) {
  out[0] = __any_sync(threadIdx.x == 0 ? 1u : kAll, 1);
}
__global__ void MaskWithoutItself(int*) { __syncwarp(1u); }
__global__ void MaskOfNobody(int*) { __syncwarp(0u); }
__global__ void MisalignedCopy(int* out) {
  __pipeline_memcpy_async(DynamicShared<int>(), out + 1, 8);
}
__global__ void GlobalTooFar(int* out) { out[threadIdx.x + 1] = 1; }
__global__ void SharedTooFar(int* out) {
  __shared__ SharedArray<int, 64> row;
  int* volatile first = &row[0];
  first[threadIdx.x + 1] = 1;
  out[0] = first[0];
}
__global__ void RowTooFar(int* out) {
  __shared__ SharedArray<int[33], 2> rows;
  rows[0][threadIdx.x == 63 ? 33 : 0] = 1;
  out[0] = rows[0][0];
}
__global__ void DynamicTooFar(int* out) {
  DynamicShared<int>()[threadIdx.x + 1] = 1;
  out[0] = 1;
}
__global__ void LocalTooFar(int* out) {
  int local[8] = {};
  int* volatile first = local;
  // On the way to other stacks and back nothing of this one may be forgotten.
  __syncthreads();
  first[threadIdx.x / 7] = 1;
  __syncthreads();
  out[0] = first[0];
}
__global__ void RecursesForEver(int* out) {
  volatile int local[1024];
  local[0] = out[0];
  if (local[0] != 12345) RecursesForEver(out);
  out[0] = local[0];
}
__global__ void MisalignedVector(int* out) {
  reinterpret_cast<int4*>(out + 1)->x = 1;
}

// Kernels whose result depends on the order, or on what was never written.

__global__ void NoBarrier(int* out) {
  __shared__ SharedArray<int, 64> row;
  row[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = row[63 - threadIdx.x];
}
__global__ void NoSecondBarrier(int* out) {
  __shared__ SharedArray<int, 1> value;
  out[threadIdx.x] = 0;
  for (int i = 0; i < 3; ++i) {
    if (threadIdx.x == 31) value[0] = i;
    __syncthreads();
    out[threadIdx.x] = 10 * out[threadIdx.x] + value[0];
  }
}
__global__ void NeverWritten(int* out) {
  __shared__ SharedArray<int, 1> value;
  out[threadIdx.x] = value[0];
}
__global__ void NeverWrittenDynamic(int* out) {
  out[threadIdx.x] = DynamicShared<int>()[0];
}
// Every block but the first finds what the one before it left.
__global__ void LeftByAnotherBlock(int* out) {
  __shared__ SharedArray<int, 1> value;
  if (blockIdx.x == 0 || gridDim.x == 1) value[0] = 1;
  out[blockIdx.x] = value[0];
}
__global__ void LeavesHoles(int* out) {
  if (threadIdx.x != 7) out[threadIdx.x] = 1;
}
__global__ void OtherBlocks(int* out) {
  out[blockIdx.x] = 1;
  out[blockIdx.x] += out[gridDim.x - 1 - blockIdx.x] == 1 ? 1 : 0;
}
__global__ void ShuffleFromOutside(int* out) {
  out[threadIdx.x] = 1;
  if (threadIdx.x % 32 < 16) {
    out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 20);
  }
}
__global__ void UsesACopyTooEarly(int* out) {
  int* shared = DynamicShared<int>();
  out[threadIdx.x] = 1;
  __pipeline_memcpy_async(&shared[threadIdx.x], &out[threadIdx.x], 4);
  __pipeline_commit();
  __pipeline_wait_prior(1);
  out[threadIdx.x] = shared[threadIdx.x];
}

// What a child that runs the kernel in one block of 64 threads writes to its
// standard error, and in `*ended_well` whether it survived.
std::string WhatAChildSays(IntKernel kernel, bool* ended_well) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    Result(kernel, {1, 64, 64 * sizeof(int)}, 64);
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    said.append(buffer, n);
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  *ended_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return said;
}

void TestMistakesEndTheProgram() {
  struct Case {
    const char* name;
    IntKernel kernel;
    // Of what is said.
    const char* first;
    const char* second;
    bool needs_sanitizers = false;
  };
  const Case cases[] = {
      {"BarrierOfSome", BarrierOfSome,
       "32 threads, the first (32, 0, 0), ended",
       "32 threads, the first (0, 0, 0), wait at __syncthreads"},
      {"TwoBarriers", TwoBarriers,
       "32 threads, the first (0, 0, 0), wait at __syncthreads",
       "32 threads, the first (32, 0, 0), wait at __syncthreads"},
      {"MaskOfTheMissing", MaskOfTheMissing,
       "wait at __shfl_xor_sync, mask 0xffffffff", "32 threads, the first (16"},
      {"MasksThatDiffer", MasksThatDiffer, "mask 0xffffffff",
       "block (0, 0, 0) is stuck"},
      {"MaskWithoutItself", MaskWithoutItself, "mask 0x00000001", "ended"},
      {"MaskOfNobody", MaskOfNobody, "mask 0x00000000", "64 threads"},
      {"MisalignedCopy", MisalignedCopy, "__pipeline_memcpy_async", "8 bytes"},
      {"GlobalTooFar", GlobalTooFar, "heap-buffer-overflow", "GlobalTooFar",
       true},
      {"SharedTooFar", SharedTooFar, "global-buffer-overflow", "SharedTooFar",
       true},
      {"RowTooFar", RowTooFar, "index 33 out of bounds", "runtime error", true},
      {"DynamicTooFar", DynamicTooFar, "heap-buffer-overflow", "DynamicTooFar",
       true},
      {"LocalTooFar", LocalTooFar, "stack-buffer-overflow", "LocalTooFar",
       true},
      {"RecursesForEver", RecursesForEver, "AddressSanitizer",
       "RecursesForEver", true},
      {"MisalignedVector", MisalignedVector, "misaligned address",
       "runtime error", true},
  };
  for (const Case& c : cases) {
    // Without a sanitizer nobody sees these.
    if (c.needs_sanitizers && !kAddressSanitizer) continue;
    bool ended_well = true;
    const std::string said = WhatAChildSays(c.kernel, &ended_well);
    Check(!ended_well, std::string(c.name) + " wasn't noticed");
    for (const char* part : {c.first, c.second}) {
      Check(said.find(part) != std::string::npos, std::string(c.name) +
                                                      " says nothing of '" +
                                                      part + "', but: " + said);
    }
  }
}

void TestOrderAndPoisonShowRaces() {
  struct Case {
    const char* name;
    IntKernel kernel;
    unsigned blocks, threads;
  };
  const Case cases[] = {
      {"NoBarrier", NoBarrier, 1, 64},
      {"NoSecondBarrier", NoSecondBarrier, 1, 64},
      {"NeverWritten", NeverWritten, 1, 64},
      {"NeverWrittenDynamic", NeverWrittenDynamic, 1, 64},
      {"LeftByAnotherBlock", LeftByAnotherBlock, 64, 1},
      {"LeavesHoles", LeavesHoles, 1, 64},
      {"OtherBlocks", OtherBlocks, 64, 1},
      {"ShuffleFromOutside", ShuffleFromOutside, 1, 64},
      {"UsesACopyTooEarly", UsesACopyTooEarly, 1, 64},
  };
  for (const Case& c : cases) {
    std::vector<int> first;
    bool differs = false;
    for (const cuda_on_cpu::Schedule& schedule : kSchedules) {
      cuda_on_cpu::schedule = schedule;
      const auto result =
          Result(c.kernel, {c.blocks, c.threads, 64 * sizeof(int)}, 64);
      if (first.empty()) first = result;
      differs = differs || result != first;
    }
    Check(differs, std::string(c.name) + " gives the same in every order");
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  using namespace tf_approxgrad;
  TestMistakesEndTheProgram();
  TestOrderAndPoisonShowRaces();
  return FailedChecks("cuda/emulation/mistakes_test");
}
