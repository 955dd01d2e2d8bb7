// A thread's sums in the accumulation: the hot loop that adds to them, and how
// a block writes them. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_SUMS_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_SUMS_H_

#include <cstdint>
#include <type_traits>

#include "cc/cuda/positions/accumulation_input.h"
#include "cc/cuda/positions/accumulation_stage.h"
#include "cc/cuda/positions/plan.h"
#include "cc/cuda/runtime/elements.h"

namespace tf_approxgrad {
namespace {

// The hot loop: what a stage adds to a thread's sums.
//
// `list` has `patches` kept positions of the thread's output channel, `stride`
// apart. A pointer that walks takes fewer registers than an index.
template <typename T, CudaInput kInput, int kVector, int kTaps,
          typename Accumulator>
__device__ __forceinline__ void AddPatches(
    const InputReader<T, kInput, kVector>& reader,
    const PreparedPosition<Accumulator>* list, int stride, int patches,
    const uint32_t (&tap_offsets)[kTaps], Accumulator (&sums)[kTaps][kVector]) {
  // Taps that are read before the first is used: what the seven predicate
  // registers and, of many sums or of those in float64, the others allow.
  constexpr int kMostTapsAtOnce =
      kTaps * kVector > 36 || std::is_same_v<T, double> ? 1 : 5;
  constexpr int kTapsAtOnce = kTaps < kMostTapsAtOnce ? kTaps : kMostTapsAtOnce;
  uint32_t all_taps = 0;
  const PreparedPosition<Accumulator>* next = list;
#pragma unroll 1
  for (int i = 0; i < patches; ++i) {
    const PreparedPosition<Accumulator> one = *next;
    next += stride;
#pragma unroll
    for (int first = 0; first < kTaps; first += kTapsAtOnce) {
      Packed<T, kVector> read[kTapsAtOnce];
#pragma unroll
      for (int t = 0; t < kTapsAtOnce; ++t) {
        if (first + t < kTaps && (one.taps & (1u << (first + t)))) {
          read[t] = reader.Read(one.place, tap_offsets[first + t]);
        }
      }
#pragma unroll
      for (int t = 0; t < kTapsAtOnce; ++t) {
        if (first + t < kTaps && (one.taps & (1u << (first + t)))) {
          const auto unpacked = Unpack<T, kVector>(read[t]);
#pragma unroll
          for (int v = 0; v < kVector; ++v) {
            sums[first + t][v] =
                MultiplyAdd(one.weight, unpacked.values[v], sums[first + t][v]);
          }
        }
      }
    }
    all_taps |= one.taps;
  }
  // Zero times a weight that isn't finite must show, at taps outside.
#pragma unroll 1
  for (int i = 0; all_taps & kWeightNotFinite && i < patches; ++i) {
    const PreparedPosition<Accumulator> one = *list;
    list += stride;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      if (one.taps & (1u << t)) continue;
#pragma unroll
      for (int v = 0; v < kVector; ++v) sums[t][v] += one.weight * 0;
    }
  }
}

// Writes a block's sums: dF, or one part of it.
//
// They are turned turned_taps at a time, [taps, in_channels, out_channels] in
// shared memory, whose rows are one longer so that the groups of a warp fall
// into different banks.
template <typename T, CudaInput kInput, int kVector, int kTaps,
          typename Accumulator>
__device__ __forceinline__ void WriteSums(
    const AccumulationTask& task, TapRange taps, int in_channel,
    int out_channel, int own_channel, int own_first, int group, double scale,
    const InputReader<T, kInput, kVector>& reader,
    const Accumulator (&sums)[kTaps][kVector], Accumulator* turned,
    Accumulator* __restrict__ parts, T* __restrict__ filter_backprop) {
  const int row_size = task.out_channels + 1;
  const int tap_size = task.in_channels * row_size;
  const Accumulator factor = static_cast<Accumulator>(scale);
  const int64_t part = static_cast<int64_t>(blockIdx.y) * task.taps *
                       task.in_depth * task.out_depth;
  const int rows =
      static_cast<int>(Least(task.in_channels, task.in_depth - in_channel));
  const int co = out_channel + own_channel;
#pragma unroll 1
  for (int first = 0; first < taps.count; first += task.turned_taps) {
    const int count =
        static_cast<int>(Least(task.turned_taps, taps.count - first));
    __syncthreads();
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      if (t < first || t >= first + count) continue;
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        turned[(t - first) * tap_size + reader.Channel(v) * row_size + group] =
            sums[t][v];
      }
    }
    __syncthreads();
    if (co >= task.out_depth) continue;
    for (int t = 0; t < count; ++t) {
#pragma unroll 4
      for (int row = own_first; row < rows; row += task.lanes) {
        const Accumulator sum =
            turned[t * tap_size + row * row_size + own_channel];
        const int64_t at =
            (static_cast<int64_t>(taps.first + first + t) * task.in_depth +
             in_channel + row) *
                task.out_depth +
            co;
        if (task.splits > 1) {
          parts[part + at] = sum;
        } else {
          filter_backprop[at] = Store<T>(factor * sum);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_ACCUMULATION_SUMS_H_
