// Writes finished sums to the input gradient.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_INPUT_WRITE_INL_H_
#define TF_APPROXGRAD_CC_CPU_CORE_INPUT_WRITE_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/streaming-inl.h"
#include "cc/cpu/core/vectors-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Where the sums of an example's pixels lie.
template <typename Accumulator>
struct SummedImage {
  const Accumulator* sums;
  // Elements from a row to the next, and from a pixel.
  int64_t row_stride;
  int64_t pixel_stride;
};

template <bool kStream, typename T, typename Accumulator>
inline void WriteScaled(const Accumulator* sums, int64_t count,
                        Accumulator scale, T* out) {
  constexpr int kWidth = kLanes<Accumulator>;
  int64_t c = 0;
  for (; c + kWidth <= count; c += kWidth) {
    const Vector<Accumulator> scaled = LoadVector(sums + c) * Broadcast(scale);
    if constexpr (kStream) {
      StreamLine(scaled, out + c);
    } else {
      StoreAs<T, Accumulator>(scaled, out + c);
    }
  }
  for (; c < count; ++c) out[c] = Store<T>(sums[c] * scale);
}

template <bool kStream, typename T, typename Accumulator>
void WritePixels(const ConvGeometry& g, const SummedImage<Accumulator>& image,
                 int64_t channels, Accumulator scale, T* out) {
  for (int64_t row = 0; row < g.in_rows; ++row) {
    const Accumulator* sums = image.sums + row * image.row_stride;
    for (int64_t col = 0; col < g.in_cols; ++col) {
      WriteScaled<kStream>(sums, channels, scale, out);
      sums += image.pixel_stride;
      out += g.in_depth;
    }
  }
}

// The channels [first, first + channels) of one example, whose part of dX
// begins at `out`; past the caches if `streams` and the lines are whole. In
// NCHW as many pixels as a vector has lanes are turned in registers.
template <typename T, typename Accumulator>
void WriteImage(const ConvGeometry& g, const SummedImage<Accumulator>& image,
                int64_t first, int64_t channels, Accumulator scale,
                bool streams, T* out) {
  constexpr int kWidth = kLanes<Accumulator>;
  if (g.layout == Layout::kNHWC) {
    if constexpr (kCanStream && sizeof(T) == sizeof(Accumulator)) {
      if (streams && g.in_depth % kWidth == 0 && first % kWidth == 0 &&
          reinterpret_cast<uintptr_t>(out) % 64 == 0) {
        WritePixels<true>(g, image, channels, scale, out + first);
        EndStreaming();
        return;
      }
    }
    WritePixels<false>(g, image, channels, scale, out + first);
    return;
  }
  const int64_t pixels = g.in_rows * g.in_cols;
  out += first * pixels;
  int64_t row = 0;
  int64_t col = 0;
  for (int64_t pixel = 0; pixel < pixels;) {
    const int64_t count = pixels - pixel < kWidth ? pixels - pixel : kWidth;
    const Accumulator* sums[kWidth];
    for (int64_t i = 0; i < count; ++i) {
      sums[i] = image.sums + row * image.row_stride + col * image.pixel_stride;
      if (++col < g.in_cols) continue;
      col = 0;
      ++row;
    }
    int64_t c = 0;
    for (; count == kWidth && c + kWidth <= channels; c += kWidth) {
      Vector<Accumulator> square[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) square[i] = LoadVector(sums[i] + c);
      Transpose<Accumulator>(square);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        StoreAs<T, Accumulator>(square[i] * Broadcast(scale),
                                out + (c + i) * pixels + pixel);
      }
    }
    for (; c < channels; ++c) {
      for (int64_t i = 0; i < count; ++i) {
        out[c * pixels + pixel + i] = Store<T>(sums[i][c] * scale);
      }
    }
    pixel += count;
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_CORE_INPUT_WRITE_INL_H_
