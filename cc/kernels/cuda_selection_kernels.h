// The kernels of the selection with k = 1. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_KERNELS_CUDA_SELECTION_KERNELS_H_
#define TF_APPROXGRAD_CC_KERNELS_CUDA_SELECTION_KERNELS_H_

#include <cstdint>

#include "cc/kernels/cuda_elements.h"
#include "cc/kernels/cuda_kept.h"
#include "cc/kernels/cuda_plan.h"
#include "cc/kernels/launch.h"

namespace tf_approxgrad {
namespace {

// Sum, largest magnitude and where it is; the lowest position on ties. A NaN
// never is the largest, but it is in the sum.
template <typename Accumulator>
struct Largest {
  Accumulator sum;
  Accumulator magnitude;
  int32_t position;

  // Of no values.
  static __device__ Largest None() { return {0, -1, 0}; }

  __device__ void Take(Accumulator value, int32_t at) {
    sum += value;
    const Accumulator size = Magnitude(value);
    if (size > magnitude) {
      magnitude = size;
      position = at;
    }
  }

  __device__ void Merge(const Largest& other) {
    sum += other.sum;
    if (other.magnitude > magnitude ||
        (other.magnitude == magnitude && other.position < position)) {
      magnitude = other.magnitude;
      position = other.position;
    }
  }

  // Merges with the lane whose number differs by `offset`, a power of two: both
  // get the same bits.
  __device__ void MergeLanes(int offset) {
    Largest other;
    other.sum = __shfl_xor_sync(kAllLanes, sum, offset);
    other.magnitude = __shfl_xor_sync(kAllLanes, magnitude, offset);
    other.position = __shfl_xor_sync(kAllLanes, position, offset);
    Merge(other);
  }
};

// k = 1, NCHW: out_backprop [planes, positions], kept [planes].
//
// Partition: `lanes` neighbouring threads share a plane, a power of two up to a
// warp, or the whole block. They read it in steps of 16 bytes each, four steps
// before the first is used; neighbouring planes lie behind each other, so that
// a warp reads whole lines of 128 bytes whatever `lanes` is. The lanes' results
// are merged by shuffles in a fixed tree. Each plane's 8 bytes of `kept` lie
// beside its neighbour's.
//
// Bytes decide: each element is read once and costs about 5 instructions, while
// an H100 brings 14.5 bytes a cycle to a multiprocessor that issues 4 * 32.
template <typename T, int kVector>
__global__ void __launch_bounds__(kCudaSelectionThreads)
    SelectPlanes(int64_t planes, int64_t positions, int lanes,
                 const T* __restrict__ out_backprop,
                 CudaKept<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kUnroll = 4;
  const int group = threadIdx.x / lanes;
  const int lane = threadIdx.x % lanes;
  const int64_t plane =
      static_cast<int64_t>(blockIdx.x) * (kCudaSelectionThreads / lanes) +
      group;
  auto largest = Largest<Accumulator>::None();
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
        SharedArray<Largest<Accumulator>, kCudaSelectionThreads / kWarpLanes>
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
    kept[plane] = {largest.sum, largest.position};
  }
}

// k = 1, NHWC: out_backprop [batch, positions, depth], kept [batch, depth].
//
// Partition: `lanes` neighbouring threads of a warp read 16 bytes each of a
// row, 128 bytes together where the channels allow it; the other threads of the
// warp do the same in the rows below, and `warps` warps of the block share an
// example's block of channels. A thread keeps sums and maxima of its channels
// in registers down its rows, with four loads before the first use. Then the
// lanes of a channel are merged by shuffles, and the warps through shared
// memory, in a fixed order. `kept` is written with channels side by side.
//
// Bytes decide, as with SelectPlanes: 256 threads of 4 loads of 16 bytes are
// 16 KB in flight a block. Four blocks of a multiprocessor cover its latency,
// and while one of them merges, the others read.
template <typename T, int kVector>
__global__ void __launch_bounds__(kCudaSelectionThreads, 4)
    SelectRows(int64_t batch, int64_t positions, int64_t depth, int lanes,
               int warps, const T* __restrict__ out_backprop,
               CudaKept<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kUnroll = 4;
  constexpr int kWarps = kCudaSelectionThreads / kWarpLanes;
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t channels = static_cast<int64_t>(lanes) * kVector;
  const int64_t blocks = (depth + channels - 1) / channels;
  const int64_t item =
      static_cast<int64_t>(blockIdx.x) * (kWarps / warps) + warp / warps;
  const int64_t example = item / blocks;
  const int64_t channel =
      item % blocks * channels + static_cast<int64_t>(lane % lanes) * kVector;
  const bool active = example < batch && channel < depth;
  Largest<Accumulator> largest[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    largest[v] = Largest<Accumulator>::None();
  }
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
              values + static_cast<int64_t>(first + u * step) * depth);
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
  if (warps > 1) {
    // [kWarps, lanes, kVector]
    Largest<Accumulator>* of_warps = DynamicShared<Largest<Accumulator>>();
    if (lane < lanes) {
      for (int v = 0; v < kVector; ++v) {
        of_warps[(warp * lanes + lane) * kVector + v] = largest[v];
      }
    }
    __syncthreads();
    if (warp % warps == 0 && lane < lanes) {
      for (int other = 1; other < warps; ++other) {
        for (int v = 0; v < kVector; ++v) {
          largest[v].Merge(
              of_warps[((warp + other) * lanes + lane) * kVector + v]);
        }
      }
    }
  }
  if (active && warp % warps == 0 && lane < lanes) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      kept[example * depth + channel + v] = {largest[v].sum,
                                             largest[v].position};
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CUDA_SELECTION_KERNELS_H_
