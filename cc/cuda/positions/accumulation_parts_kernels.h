// The kernel that adds what parts of the batch gave. Only .cu files include
// this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_PARTS_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_PARTS_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// filter_backprop [size] = scale * the sum of parts [splits, size], in a fixed
// order.
//
// Partition: neighbouring threads have neighbouring elements, kVector each, so
// that a warp reads whole lines; kWorkers threads share them where there are
// many parts, each a run of parts, and meet in shared memory. A thread reads
// eight parts, or 32 elements of them, before it adds the first.
//
// Latency decides, not bytes: the parts were just written, so that they come
// from L2, some 600 cycles for each round of reads.
template <typename T, int kVector, int kWorkers>
__global__ void __launch_bounds__(kCudaSelectionThreads)
    AddParts(int64_t size, int splits, double scale,
             const typename AccumulatorOf<T>::type* __restrict__ parts,
             T* __restrict__ filter_backprop) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kColumns = kCudaSelectionThreads / kWorkers;
  constexpr int kUnroll = kVector > 4 ? 4 : 8;
  const int column = threadIdx.x % kColumns;
  const int worker = threadIdx.x / kColumns;
  const int64_t at =
      (static_cast<int64_t>(blockIdx.x) * kColumns + column) * kVector;
  const int each = (splits + kWorkers - 1) / kWorkers;
  const int end = static_cast<int>(Least(splits, (worker + 1) * each));
  Accumulator sums[kVector] = {};
  if (at < size) {
    for (int first = worker * each; first < end; first += kUnroll) {
      Elements<Accumulator, kVector> read[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (first + u < end) {
          read[u] = ReadElements<kVector>(parts + (first + u) * size + at);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (first + u < end) {
#pragma unroll
          for (int v = 0; v < kVector; ++v) sums[v] += read[u].values[v];
        }
      }
    }
  }
  if constexpr (kWorkers > 1) {
    __shared__ SharedArray<Accumulator[kColumns], kWorkers * kVector> shared;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      shared[worker * kVector + v][column] = sums[v];
    }
    __syncthreads();
    if (worker > 0) return;
    for (int other = 1; other < kWorkers; ++other) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        sums[v] += shared[other * kVector + v][column];
      }
    }
  }
  if (at >= size) return;
  Elements<T, kVector> sum;
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    sum.values[v] = Store<T>(static_cast<Accumulator>(scale) * sums[v]);
  }
  WriteElements(sum, filter_backprop + at);
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_PARTS_KERNELS_H_
