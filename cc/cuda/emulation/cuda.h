// Runs CUDA kernels on the processor, for tests alone: g++ compiles a .cu file
// as C++ with TF_APPROXGRAD_CUDA_ON_CPU defined, and cc/cuda/runtime includes
// this instead of CUDA.
//
// Every CUDA thread is a fiber. Blocks run one after the other; within a block
// a thread runs until it must wait for others, at __syncthreads or at an
// operation of its warp, and then the next in order. What that finds:
//   - a wait without an end: threads at different barriers, a barrier that only
//     some reach, a warp's mask that its lanes disagree on. A thread that has
//     ended is missing at a barrier, though hardware would let that pass;
//   - with AddressSanitizer, accesses outside of device memory, of a shared
//     array and of a local one; with UndefinedBehaviorSanitizer, misaligned
//     vectors;
//   - what depends on the order of threads or blocks, and what is read before
//     it is written: another Schedule changes both, and then the result.
// Atomics and inline PTX are not had.

#ifndef TF_APPROXGRAD_CC_CUDA_EMULATION_CUDA_H_
#define TF_APPROXGRAD_CC_CUDA_EMULATION_CUDA_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "cc/cuda/emulation/block.h"
#include "cc/cuda/emulation/runtime.h"

namespace tf_approxgrad {
namespace cuda_on_cpu {

// The numbers of threads, or of blocks, in the schedule's order.
inline std::vector<int64_t> Ordered(int64_t count, unsigned salt) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  if (schedule.order == Schedule::kReverse) {
    std::reverse(order.begin(), order.end());
  } else if (schedule.order == Schedule::kShuffled) {
    std::shuffle(order.begin(), order.end(),
                 std::mt19937(schedule.seed + salt));
  }
  return order;
}

// Runs `kernel` in all threads of all blocks.
inline cudaError_t Run(dim3 grid, dim3 threads, size_t shared_bytes,
                       const std::function<void()>& kernel) {
  const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
  if (count == 0 || count > 1024 || threads.z > 64 || grid.x == 0 ||
      grid.x > 0x7fffffff || grid.y == 0 || grid.y > 0xffff || grid.z == 0 ||
      grid.z > 0xffff) {
    return cudaErrorInvalidConfiguration;
  }
  if (shared_bytes > kSharedBytesPerBlock) return cudaErrorInvalidValue;
  gridDim = grid;
  blockDim = threads;
  for (const int64_t i : Ordered(int64_t{grid.x} * grid.y * grid.z, 0)) {
    const unsigned number = static_cast<unsigned>(i);
    blockIdx = {number % grid.x, number / grid.x % grid.y,
                number / grid.x / grid.y};
    block.Run(kernel, shared_bytes, Ordered(count, number));
  }
  return cudaSuccess;
}

template <typename T>
T Shuffle(const char* operation, unsigned mask, T value, unsigned source,
          const char* file, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles no other");
  uint64_t given = 0;
  std::memcpy(&given, &value, sizeof(T));
  const Thread& self =
      block.Meet({operation, false, mask, file, line}, given, source);
  std::memcpy(&value, &self.got, sizeof(T));
  return value;
}

}  // namespace cuda_on_cpu

template <typename T, int kSize>
struct SharedArray {
  SharedArray() { cuda_on_cpu::block.AddArray(values, sizeof(values)); }
  T& operator[](int i) { return values[i]; }
  const T& operator[](int i) const { return values[i]; }

  T values[kSize];
};

template <typename T>
T* DynamicShared() {
  return static_cast<T*>(cuda_on_cpu::block.dynamic_shared);
}

}  // namespace tf_approxgrad

// The caller's place, which names the wait.
#define TF_APPROXGRAD_PLACE \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(TF_APPROXGRAD_PLACE) {
  tf_approxgrad::cuda_on_cpu::block.Meet({__func__, true, 0, file, line});
}

inline void __syncwarp(unsigned mask = ~0u, TF_APPROXGRAD_PLACE) {
  tf_approxgrad::cuda_on_cpu::block.Meet({__func__, false, mask, file, line});
}

inline unsigned __ballot_sync(unsigned mask, int vote, TF_APPROXGRAD_PLACE) {
  return tf_approxgrad::cuda_on_cpu::block
      .Meet({__func__, false, mask, file, line}, vote != 0)
      .given_lanes;
}

inline int __any_sync(unsigned mask, int vote, TF_APPROXGRAD_PLACE) {
  return __ballot_sync(mask, vote, file, line) != 0;
}

inline int __all_sync(unsigned mask, int vote, TF_APPROXGRAD_PLACE) {
  return __ballot_sync(mask, vote, file, line) == mask;
}

// A shuffle stays within segments of `width` lanes: a lane that asks for one
// outside gets its own value.
#define TF_APPROXGRAD_SHUFFLE(NAME, ARGUMENT, SOURCE)               \
  template <typename T>                                             \
  T NAME(unsigned mask, T value, ARGUMENT, int width = warpSize,    \
         TF_APPROXGRAD_PLACE) {                                     \
    const int lane = tf_approxgrad::cuda_on_cpu::block.lane();      \
    const int first = lane / width * width;                         \
    const int source = SOURCE;                                      \
    const bool inside = source >= first && source < first + width;  \
    return tf_approxgrad::cuda_on_cpu::Shuffle(                     \
        __func__, mask, value, inside ? source : lane, file, line); \
  }
TF_APPROXGRAD_SHUFFLE(__shfl_sync, int from, first + (from & (width - 1)))
TF_APPROXGRAD_SHUFFLE(__shfl_up_sync, unsigned by, lane - static_cast<int>(by))
TF_APPROXGRAD_SHUFFLE(__shfl_down_sync, unsigned by,
                      lane + static_cast<int>(by))
TF_APPROXGRAD_SHUFFLE(__shfl_xor_sync, int with, lane ^ with)
#undef TF_APPROXGRAD_SHUFFLE
#undef TF_APPROXGRAD_PLACE

// Writes garbage now and copies as late as it may, at __pipeline_wait_prior:
// who doesn't wait reads garbage.
inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes,
                                    size_t zeros = 0) {
  using tf_approxgrad::cuda_on_cpu::block;
  const auto aligned = [&](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
  };
  if ((bytes != 4 && bytes != 8 && bytes != 16) || !aligned(to) ||
      !aligned(from) || zeros > bytes) {
    std::fprintf(stderr, "cuda_on_cpu: __pipeline_memcpy_async of %zu bytes\n",
                 bytes);
    std::abort();
  }
  std::memset(to, tf_approxgrad::cuda_on_cpu::schedule.poison, bytes);
  auto& thread = block.current();
  thread.copies.push_back({to, from, bytes, zeros, thread.commits});
}

inline void __pipeline_commit() {
  ++tf_approxgrad::cuda_on_cpu::block.current().commits;
}

// Waits for all but the last `later` commits.
inline void __pipeline_wait_prior(size_t later) {
  auto& thread = tf_approxgrad::cuda_on_cpu::block.current();
  auto& copies = thread.copies;
  while (!copies.empty() &&
         copies.front().commit + static_cast<int64_t>(later) < thread.commits) {
    const auto copy = copies.front();
    copies.pop_front();
    std::memcpy(copy.to, copy.from, copy.bytes - copy.zeros);
    std::memset(static_cast<char*>(copy.to) + copy.bytes - copy.zeros, 0,
                copy.zeros);
  }
}

#endif  // TF_APPROXGRAD_CC_CUDA_EMULATION_CUDA_H_
