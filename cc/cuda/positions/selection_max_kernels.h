// The kernels of the selection with k up to kCudaMostFew. Only .cu files
// include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/selection_max_candidates.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// k <= kMost, which is 1 or kCudaMostFew, NCHW: out_backprop [planes,
// positions], kept [planes, k].
//
// Partition: `lanes` neighbouring threads share a plane, a power of two up to a
// warp, or the whole block. They read it in steps of 16 bytes each, four steps
// before the first is used; neighbouring planes lie behind each other, so that
// a warp reads whole lines of 128 bytes whatever `lanes` is. The lanes' results
// are merged by shuffles in a fixed tree. What a plane keeps lies beside its
// neighbour's.
//
// k = 1 is memory-bound: each element is read once and costs about 5
// instructions, while an H100 delivers 14.5 bytes per cycle to a multiprocessor
// that issues 4 x 32 lanes. For larger k, a value that enters costs about 20.
template <typename T, int kVector, int kMost>
__global__ void __launch_bounds__(kCudaSelectionThreads) SelectPlanes(
    int64_t planes, int64_t positions, int k, int lanes,
    const T* __restrict__ out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  constexpr int kUnroll = 4;
  const int group = threadIdx.x / lanes;
  const int lane = threadIdx.x % lanes;
  const int64_t plane =
      static_cast<int64_t>(blockIdx.x) * (kCudaSelectionThreads / lanes) +
      group;
  auto largest = LargestOf<T, kMost>::None();
  if (plane < planes) {
    const T* values = out_backprop + plane * positions;
    const uint32_t count = static_cast<uint32_t>(positions);
    const uint32_t step = lanes * kVector;
    for (uint32_t first = lane * kVector; first < count;
         first += kUnroll * step) {
      Packed<T, kVector> read[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (first + u * step < count) {
          read[u] = ReadPacked<kVector>(values + first + u * step);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (first + u * step < count) {
          const auto unpacked = Unpack<T, kVector>(read[u]);
#pragma unroll
          for (int v = 0; v < kVector; ++v) {
            largest.Take(unpacked.values[v], first + u * step + v);
          }
        }
      }
    }
  }
  for (int offset = 1; offset < lanes && offset < kWarpLanes; offset *= 2) {
    largest.MergeLanes(offset);
  }
  if (lanes > kWarpLanes) {
    __shared__
        SharedArray<LargestOf<T, kMost>, kCudaSelectionThreads / kWarpLanes>
            of_warps;
    if (lane % kWarpLanes == 0) of_warps[lane / kWarpLanes] = largest;
    __syncthreads();
    if (lane == 0) {
      for (int warp = 1; warp < kCudaSelectionThreads / kWarpLanes; ++warp) {
        largest.Merge(of_warps[warp]);
      }
    }
  }
  if (lane == 0 && plane < planes) {
    largest.Write(k, kept + plane * k);
  }
}

// k <= kMost, which is 1 or kCudaMostFew, NHWC: out_backprop [batch, positions,
// depth], kept [batch, depth, k].
//
// Partition: `lanes` neighbouring threads of a warp read 16 bytes each of a
// row, 128 bytes together where the channels allow it; the other threads of the
// warp do the same in the rows below, and `warps` warps of the block share an
// example's block of channels. A thread keeps sums and maxima of its channels
// in registers down its rows, with four loads before the first use. Then the
// lanes of a channel are merged by shuffles, and the warps through shared
// memory, both in a fixed tree. `kept` is written with channels side by side.
//
// Bytes decide, as with SelectPlanes: 256 threads of 4 loads of 16 bytes are
// 16 KB in flight a block. Four blocks of a multiprocessor cover its latency,
// and while one of them merges, the others read. With k > 1 a thread has four
// channels at most, 8 bytes a load in 16 bits, and its lists take the registers
// of one block.
template <typename T, int kVector, int kMost>
__global__ void __launch_bounds__(kCudaSelectionThreads, kMost == 1 ? 4 : 3)
    SelectRows(
        int64_t batch, int64_t positions, int64_t depth, int k, int lanes,
        int warps, const T* __restrict__ out_backprop,
        WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Collected = LargestOf<T, kMost>;
  constexpr int kUnroll = 4;
  constexpr int kWarps = kCudaSelectionThreads / kWarpLanes;
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  // The channels of all examples are counted in 32 bits.
  const uint32_t channels = lanes * kVector;
  const uint32_t row_elements = static_cast<uint32_t>(depth);
  const uint32_t blocks = (row_elements + channels - 1) / channels;
  const uint32_t item = blockIdx.x * (kWarps / warps) + warp / warps;
  const uint32_t example = item / blocks;
  const uint32_t channel = item % blocks * channels + lane % lanes * kVector;
  const bool active = example < batch && channel < row_elements;
  Collected largest[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) largest[v] = Collected::None();
  if (active) {
    const T* values = out_backprop + example * positions * depth + channel;
    const uint32_t count = static_cast<uint32_t>(positions);
    const uint32_t step = kWarpLanes / lanes * warps;
    for (uint32_t first = kWarpLanes / lanes * (warp % warps) + lane / lanes;
         first < count; first += kUnroll * step) {
      Packed<T, kVector> read[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (first + u * step < count) {
          read[u] = ReadPacked<kVector>(
              values + static_cast<uint64_t>(first + u * step) * row_elements);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (first + u * step < count) {
          const auto unpacked = Unpack<T, kVector>(read[u]);
#pragma unroll
          for (int v = 0; v < kVector; ++v) {
            largest[v].Take(unpacked.values[v], first + u * step);
          }
        }
      }
    }
  }
  for (int offset = lanes; offset < kWarpLanes; offset *= 2) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) largest[v].MergeLanes(offset);
  }
  // [kWarps, lanes, kVector]
  Collected* of_warps = DynamicShared<Collected>();
  for (int half = 1; half < warps; half *= 2) {
    if (warp % (2 * half) == half && lane < lanes) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        of_warps[(warp * lanes + lane) * kVector + v] = largest[v];
      }
    }
    __syncthreads();
    if (warp % (2 * half) == 0 && lane < lanes) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        largest[v].Merge(
            of_warps[((warp + half) * lanes + lane) * kVector + v]);
      }
    }
  }
  if (active && warp % warps == 0 && lane < lanes) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const uint32_t at = example * row_elements + channel + v;
      largest[v].Write(k, kept + static_cast<int64_t>(at) * k);
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_KERNELS_H_
