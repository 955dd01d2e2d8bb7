// Writes finished sums to the filter gradient.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_FILTER_WRITE_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_FILTER_WRITE_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/streaming-inl.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Writes as many channels' sums, channel_size apart, of as many input channels
// as a vector has lanes: transposed in registers, so that every line of dF is
// written once and whole.
template <bool kStream, typename T, typename Accumulator>
__attribute__((noinline)) void WriteSquare(const Accumulator* sums,
                                           int64_t channel_size,
                                           Accumulator scale, T* out,
                                           int64_t out_stride) {
  constexpr int kWidth = kLanes<Accumulator>;
  Vector<Accumulator> square[kWidth];
#pragma GCC unroll 16
  for (int row = 0; row < kWidth; ++row) {
    square[row] = LoadVector(sums);
    sums = InRegister(sums + channel_size);
  }
  Transpose<Accumulator>(square);
#pragma GCC unroll 16
  for (int row = 0; row < kWidth; ++row) {
    if constexpr (kStream) {
      StreamLine(square[row] * Broadcast(scale), out);
    } else {
      StoreAs<T, Accumulator>(square[row] * Broadcast(scale), out);
    }
    out = InRegister(out + out_stride);
  }
}

// Writes the sums [channels, taps, chunk] of neighbouring output channels as
// [taps, chunk, channels], the order of dF.
template <typename T, typename Accumulator>
void WriteSums(const AccumulationTask<T>& task, int64_t chunk,
               int64_t first_channel, int64_t channels,
               const Accumulator* sums) {
  constexpr int kWidth = kLanes<Accumulator>;
  const ConvGeometry& g = task.g;
  const int64_t width = task.plan.chunk;
  const int64_t channel_size = g.taps() * width;
  const int64_t first_in = chunk * width;
  const int64_t in_channels = Smaller(g.in_depth - first_in, width);
  auto write_square = &WriteSquare<false, T, Accumulator>;
  bool streams = false;
  if constexpr (kCanStream && sizeof(T) == sizeof(Accumulator)) {
    streams = task.plan.streams_result && g.out_depth % kWidth == 0 &&
              first_channel % kWidth == 0 &&
              reinterpret_cast<uintptr_t>(task.filter_backprop) % 64 == 0;
    if (streams) write_square = &WriteSquare<true, T, Accumulator>;
  }
  for (int64_t tap = 0; tap < g.taps(); ++tap) {
    const Accumulator* tap_sums = sums + tap * width;
    T* out = task.filter_backprop +
             (tap * g.in_depth + first_in) * g.out_depth + first_channel;
    for (int64_t c = 0; c < in_channels;) {
      const bool whole = c + kWidth <= in_channels;
      int64_t co = 0;
      for (; whole && co + kWidth <= channels; co += kWidth) {
        write_square(tap_sums + co * channel_size + c, channel_size, task.scale,
                     out + c * g.out_depth + co, g.out_depth);
      }
      const int64_t end = whole ? c + kWidth : in_channels;
      for (; c < end; ++c) {
        for (int64_t rest = co; rest < channels; ++rest) {
          out[c * g.out_depth + rest] =
              Store<T>(task.scale * tap_sums[rest * channel_size + c]);
        }
      }
    }
  }
  if (streams) EndStreaming();
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_FILTER_WRITE_INL_H_
