// The kernel of the sampled method's selection. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_SAMPLED_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_SAMPLED_KERNELS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/philox-inl.h"
#include "cc/common/random_stream.h"
#include "cc/common/systematic_sampling.h"
#include "cc/common/target.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/positions/weighted_position.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// 1 - u of a channel, n * Co + co.
template <typename Accumulator>
__device__ Accumulator OneLessUniformOf(const RandomStream& stream,
                                        int64_t channel) {
  using namespace TF_APPROXGRAD_TARGET;
  uint32_t words[4] = {static_cast<uint32_t>(channel), stream.layer,
                       static_cast<uint32_t>(stream.step),
                       static_cast<uint32_t>(stream.step >> 32)};
  uint32_t key0 = static_cast<uint32_t>(stream.seed);
  uint32_t key1 = static_cast<uint32_t>(stream.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    PhiloxRound(key0, key1, &words[0], &words[1], &words[2], &words[3]);
    key0 += kIncrement0;
    key1 += kIncrement1;
  }
  return OneLessUniform<Accumulator>(words[0], words[1]);
}

__device__ inline float CopySign(float magnitude, float sign) {
  return copysignf(magnitude, sign);
}
__device__ inline double CopySign(double magnitude, double sign) {
  return copysign(magnitude, sign);
}

// Behind the last of a segment's positions.
__device__ inline uint32_t EndOfSegment(uint32_t number, uint32_t segment,
                                        uint32_t positions) {
  const uint32_t end = (number + 1) * segment;
  return end < positions ? end : positions;
}

// Calls `take(position, value)` for the positions [first, end) of a channel,
// which lie `stride` apart, until it returns false. They are read four accesses
// at once, in vectors of kVector if that isn't 1: then neighbours, `values`
// aligned and `first` and `end` multiples of it.
template <int kVector, typename T, typename Take>
__device__ void ForEachPosition(const T* values, int64_t stride, uint32_t first,
                                uint32_t end, const Take& take) {
  constexpr int kUnroll = 4;
  for (; first < end; first += kUnroll * kVector) {
    Packed<T, kVector> read[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const uint32_t at = first + u * kVector;
      if (at < end) read[u] = ReadPacked<kVector>(values + at * stride);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const uint32_t at = first + u * kVector;
      if (at >= end) return;
      const auto unpacked = Unpack<T, kVector>(read[u]);
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        if (!take(at + v, unpacked.values[v])) return;
      }
    }
  }
}

// Any k below the number of positions, either layout, kept [batch, depth, k];
// systematic_sampling.h says what is drawn.
//
// Partition: in NHWC, `lanes` neighbouring threads take neighbouring channels
// of an example and read rows together, 128 bytes of float32 at once; in NCHW
// `lanes` is 1. Each channel has `workers` threads, which take its segments in
// turns, so that there are as many loads in flight; a block has as many such
// groups as fit. The sums of the segments meet in shared memory, where one
// thread of each channel adds them up in order. Then the workers take the draws
// in turns: a binary search finds the segment, and its positions are read
// again, from L1 or L2. In NCHW, threads read 16 bytes each of segments that
// lie apart, and L1 holds the lines until the rest of them is read.
//
// Bytes decide, as with SelectPlanes, but for a draw's second read of a
// segment, of which there are up to kMostSegments.
template <typename T, int kVector>
__global__ void __launch_bounds__(kCudaSelectionThreads) SelectSampled(
    int64_t batch, int64_t positions, int64_t depth, Layout layout, int lanes,
    int workers, int64_t k, RandomStream stream,
    const T* __restrict__ out_backprop,
    WeightedPosition<typename AccumulatorOf<T>::type>* __restrict__ kept) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int lane = threadIdx.x % lanes;
  const int worker = threadIdx.x / lanes % workers;
  const int group = threadIdx.x / (lanes * workers);
  const int64_t item = static_cast<int64_t>(blockIdx.x) *
                           (kCudaSelectionThreads / (lanes * workers)) +
                       group;
  const int64_t blocks = (depth + lanes - 1) / lanes;
  const int64_t example = item / blocks;
  const int64_t co = item % blocks * lanes + lane;
  const bool active = example < batch && co < depth;
  const int64_t channel = example * depth + co;
  const bool planes = layout == Layout::kNCHW;
  const int64_t stride = planes ? 1 : depth;
  const T* values = out_backprop + (planes ? channel * positions
                                           : example * positions * depth + co);
  const uint32_t count = static_cast<uint32_t>(positions);
  const uint32_t segment = static_cast<uint32_t>(SegmentRows(positions));
  const int segments = static_cast<int>((count + segment - 1) / segment);
  // [groups, segments, lanes]
  Accumulator* ends =
      DynamicShared<Accumulator>() + group * segments * lanes + lane;
  if (active) {
    for (int s = worker; s < segments; s += workers) {
      Accumulator sum = 0;
      ForEachPosition<kVector>(values, stride, s * segment,
                               EndOfSegment(s, segment, count),
                               [&](uint32_t, Accumulator value) {
                                 sum += Magnitude(value);
                                 return true;
                               });
      ends[s * lanes] = sum;
    }
  }
  __syncthreads();
  if (active && worker == 0) {
    Accumulator total = 0;
    for (int s = 0; s < segments; ++s) {
      total += ends[s * lanes];
      ends[s * lanes] = total;
    }
  }
  __syncthreads();
  if (!active || worker >= k) return;
  const Accumulator total = ends[(segments - 1) * lanes];
  const Accumulator weight = total / static_cast<Accumulator>(k);
  const Accumulator offset = OneLessUniformOf<Accumulator>(stream, channel);
  for (int64_t j = worker; j < k; j += workers) {
    Accumulator draw = (static_cast<Accumulator>(j) + offset) * weight;
    if (draw > total) draw = total;
    // The first segment whose end reaches the draw.
    int below = 0;
    for (int last = segments - 1; below < last;) {
      const int middle = (below + last) / 2;
      if (draw > ends[middle * lanes]) {
        below = middle + 1;
      } else {
        last = middle;
      }
    }
    const Accumulator start =
        below > 0 ? ends[(below - 1) * lanes] : Accumulator{0};
    Accumulator sum = 0;
    Accumulator sign = 0;
    uint32_t position = 0;
    ForEachPosition<kVector>(values, stride, below * segment,
                             EndOfSegment(below, segment, count),
                             [&](uint32_t at, Accumulator value) {
                               sum += Magnitude(value);
                               sign = value;
                               position = at;
                               return draw > start + sum;
                             });
    kept[channel * k + j] = {CopySign(weight, sign),
                             static_cast<int32_t>(position)};
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_SELECTION_SAMPLED_KERNELS_H_
