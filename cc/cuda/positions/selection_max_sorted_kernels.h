// The other kernels of max's selection: k above kCudaMostFew, and all
// positions. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_SORTED_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_SORTED_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

constexpr int kSelectionWarps = kCudaSelectionThreads / kWarpLanes;

// The 32 values of largest magnitude of a channel, one in each lane of a warp
// in descending order, the lowest position first on ties; and each lane's share
// of the channel's sum. All lanes of the warp call its functions together.
template <typename Accumulator>
struct SortedLanes {
  Accumulator value, magnitude;
  int32_t position;
  Accumulator sum;
  // Magnitude of the k-th: what a newcomer must exceed.
  Accumulator threshold;

  static __device__ SortedLanes None() { return {0, -1, 0, 0, -1}; }

  // Takes a value of each lane, their positions in ascending order; lanes that
  // are not `valid` have none. It costs a comparison unless a value enters, and
  // of P values in any order only about k * ln(P / k) do.
  __device__ void Take(Accumulator newcomer, int32_t at, bool valid, int k) {
    const int lane = threadIdx.x % kWarpLanes;
    const Accumulator size = valid ? Magnitude(newcomer) : Accumulator{-1};
    if (valid) sum += newcomer;
    unsigned entering = __ballot_sync(kAllLanes, size > threshold);
    while (entering != 0) {
      const int source = __popc((entering & -entering) - 1);
      entering &= entering - 1;
      const Accumulator candidate = __shfl_sync(kAllLanes, size, source);
      // Another that entered before may have raised it.
      if (!(candidate > threshold)) continue;
      const int rank = __popc(__ballot_sync(kAllLanes, magnitude >= candidate));
      const Accumulator before_value = __shfl_up_sync(kAllLanes, value, 1);
      const Accumulator before_size = __shfl_up_sync(kAllLanes, magnitude, 1);
      const int32_t before_position = __shfl_up_sync(kAllLanes, position, 1);
      const Accumulator entered = __shfl_sync(kAllLanes, newcomer, source);
      const int32_t entered_position = __shfl_sync(kAllLanes, at, source);
      if (lane > rank) {
        value = before_value;
        magnitude = before_size;
        position = before_position;
      } else if (lane == rank) {
        value = entered;
        magnitude = candidate;
        position = entered_position;
      }
      threshold = __shfl_sync(kAllLanes, magnitude, k - 1);
    }
  }

  // Writes the k kept positions with weights that preserve the channel's sum.
  __device__ void Write(int k, WeightedPosition<Accumulator>* kept) const {
    const int lane = threadIdx.x % kWarpLanes;
    const Accumulator rest =
        WarpSum(sum) - WarpSum(lane < k ? value : Accumulator{0});
    if (lane < k) {
      kept[lane] = {value + rest / static_cast<Accumulator>(k), position};
    }
  }
};

// 1 < k <= kCudaMostSorted, NCHW: out_backprop [planes, positions], kept
// [planes, k].
//
// Partition: a warp takes a plane, 32 neighbouring elements at a time, four
// such loads before the first is used. The lanes hold the largest so far; see
// SortedLanes. Planes below 32 positions leave lanes idle, which is no loss
// against the accumulation that follows.
template <typename T>
__global__ void __launch_bounds__(kCudaSelectionThreads) SelectSortedPlanes(
    int64_t planes, int64_t positions, int k,
    const T* __restrict__ out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kUnroll = 4;
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t plane = static_cast<int64_t>(blockIdx.x) * kSelectionWarps +
                        threadIdx.x / kWarpLanes;
  if (plane >= planes) return;
  const T* values = out_backprop + plane * positions;
  const uint32_t count = static_cast<uint32_t>(positions);
  auto sorted = SortedLanes<Accumulator>::None();
  for (uint32_t first = 0; first < count; first += kUnroll * kWarpLanes) {
    Accumulator read[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const uint32_t at = first + u * kWarpLanes + lane;
      read[u] = at < count ? LoadElement(values[at]) : Accumulator{0};
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const uint32_t at = first + u * kWarpLanes + lane;
      sorted.Take(read[u], at, at < count, k);
    }
  }
  sorted.Write(k, kept + plane * k);
}

// 1 < k <= kCudaMostSorted, NHWC: out_backprop [batch, positions, depth], kept
// [batch, depth, k].
//
// Partition: a block takes 32 channels of an example. Its warps read rows of 32
// neighbouring channels, 64 positions a time, into registers while the 64
// before are worked on, and transpose them in shared memory, whose rows are
// padded by one element to avoid bank conflicts. Then each warp takes four
// channels as SelectSortedPlanes does.
template <typename T>
__global__ void __launch_bounds__(kCudaSelectionThreads, 2) SelectSortedRows(
    int64_t positions, int64_t depth, int k, const T* __restrict__ out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Accumulator = typename AccumulatorOf<T>::type;
  constexpr int kRows = 64;
  constexpr int kLoads = kRows / kSelectionWarps;
  constexpr int kChannels = kWarpLanes / kSelectionWarps;
  __shared__ SharedArray<Accumulator[kWarpLanes + 1], kRows> tile;
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t blocks = (depth + kWarpLanes - 1) / kWarpLanes;
  const int64_t example = blockIdx.x / blocks;
  const int64_t block_channel = blockIdx.x % blocks * kWarpLanes;
  const bool has_channel = block_channel + lane < depth;
  const T* values =
      out_backprop + example * positions * depth + block_channel + lane;
  const uint32_t count = static_cast<uint32_t>(positions);
  SortedLanes<Accumulator> sorted[kChannels];
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    sorted[c] = SortedLanes<Accumulator>::None();
  }
  Accumulator read[kLoads];
  const auto read_rows = [&](uint32_t first) {
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const uint32_t row = first + u * kSelectionWarps + warp;
      read[u] = has_channel && row < count
                    ? LoadElement(values[static_cast<int64_t>(row) * depth])
                    : Accumulator{0};
    }
  };
  read_rows(0);
  for (uint32_t first = 0; first < count; first += kRows) {
    __syncthreads();
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      tile[u * kSelectionWarps + warp][lane] = read[u];
    }
    __syncthreads();
    read_rows(first + kRows);
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
#pragma unroll 1
      for (int half = 0; half < kRows; half += kWarpLanes) {
        const uint32_t at = first + half + lane;
        sorted[c].Take(tile[half + lane][warp * kChannels + c], at, at < count,
                       k);
      }
    }
  }
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    const int64_t channel = block_channel + warp * kChannels + c;
    if (channel < depth) {
      sorted[c].Write(k, kept + (example * depth + channel) * k);
    }
  }
}

// The bits of a magnitude, in the order of the magnitudes.
__device__ inline uint32_t MagnitudeBits(float value) {
  return internal::BitsOfFloat(value) & 0x7fffffffu;
}
__device__ inline uint64_t MagnitudeBits(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits & 0x7fffffffffffffffu;
}

// Any k, either layout: neighbouring positions of a channel lie `stride` apart.
// kept [batch, depth, k].
//
// Partition: a warp takes a channel, a position a lane, and reads it as often
// as a magnitude has bits: each time it counts the magnitudes that reach a
// bound, and so finds the k-th bit by bit, whatever k is. Then it writes the
// positions above it and the first that equal it, in ascending order. NCHW
// reads are coalesced; in NHWC the warps of a block take neighbouring channels,
// which share sectors in L1. Meant for few channels or large k, not for speed.
template <typename T>
__global__ void __launch_bounds__(kCudaSelectionThreads) SelectThreshold(
    int64_t batch, int64_t positions, int64_t depth, int64_t stride, int64_t k,
    const T* __restrict__ out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Accumulator = typename AccumulatorOf<T>::type;
  using Bits = decltype(MagnitudeBits(Accumulator{}));
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kSelectionWarps +
                       threadIdx.x / kWarpLanes;
  if (item >= batch * depth) return;
  const int64_t example = item / depth;
  const int64_t channel = item % depth;
  // In NCHW, where the stride is 1, planes lie apart instead of elements.
  const T* values = out_backprop + example * depth * positions +
                    (stride == 1 ? channel * positions : channel);
  WeightedPosition<Accumulator>* channel_positions = kept + item * k;

  const auto count_from = [&](Bits bound) {
    int64_t found = 0;
    for (int64_t first = 0; first < positions; first += kWarpLanes) {
      const int64_t at = first + lane;
      const bool reaches =
          at < positions &&
          MagnitudeBits(LoadElement(values[at * stride])) >= bound;
      found += __popc(__ballot_sync(kAllLanes, reaches));
    }
    return found;
  };
  Bits kth = 0;
  int64_t equal_left = k;
  // Where all is kept there is nothing to search.
  if (k < positions) {
    for (int bit = 8 * sizeof(Bits) - 2; bit >= 0; --bit) {
      const Bits bound = kth | (Bits{1} << bit);
      if (count_from(bound) >= k) kth = bound;
    }
    equal_left = k - count_from(kth + 1);
  }

  Accumulator sum = 0;
  Accumulator kept_sum = 0;
  int64_t written = 0;
  for (int64_t first = 0; first < positions; first += kWarpLanes) {
    const int64_t at = first + lane;
    const bool valid = at < positions;
    const Accumulator value =
        valid ? LoadElement(values[at * stride]) : Accumulator{0};
    const Bits bits = MagnitudeBits(value);
    const unsigned before = (1u << lane) - 1;
    const unsigned equal = __ballot_sync(kAllLanes, valid && bits == kth);
    const bool keep =
        valid &&
        (bits > kth || (bits == kth && __popc(equal & before) < equal_left));
    equal_left -= Least(equal_left, __popc(equal));
    const unsigned keeping = __ballot_sync(kAllLanes, keep);
    sum += value;
    if (keep) {
      kept_sum += value;
      channel_positions[written + __popc(keeping & before)] = {
          value, static_cast<int32_t>(at)};
    }
    written += __popc(keeping);
  }
  // Nothing is left over where all is kept, and each value is its own weight.
  if (k == positions) return;
  const Accumulator share =
      (WarpSum(sum) - WarpSum(kept_sum)) / static_cast<Accumulator>(k);
  // What other lanes of the warp have written.
  __syncwarp();
  for (int64_t j = lane; j < k; j += kWarpLanes) {
    channel_positions[j].weight += share;
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_MAX_SORTED_KERNELS_H_
