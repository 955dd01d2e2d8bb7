// The kernel that gathers drawn rows. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_KERNELS_CUDA_ROW_GATHER_KERNELS_H_
#define TF_APPROXGRAD_CC_KERNELS_CUDA_ROW_GATHER_KERNELS_H_

#include <cmath>
#include <cstdint>

#include "cc/kernels/cuda_elements.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/launch.h"
#include "cc/kernels/row_draw.h"

namespace tf_approxgrad {
namespace {

constexpr int kGatherThreads = 256;

// How a place's elements are shared.
struct GatherShape {
  // Threads of a place, a power of two from a warp to a block.
  int threads = kWarpLanes;
  // Of those, the neighbours that take the channels of a tap in turns.
  int lanes = kWarpLanes;
};

template <int kVector, typename T, typename Accumulator>
__device__ void CopyElements(const T* from, bool is_read, Accumulator weight,
                             Accumulator* to) {
  Elements<T, kVector> read = {};
  if (is_read) read = ReadElements<kVector>(from);
  Elements<Accumulator, kVector> scaled;
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    scaled.values[v] = LoadElement(read.values[v]) * weight;
  }
  WriteElements(scaled, to);
}

// The patches of the drawn rows and the rows of dY, weighted: `patches` [draws,
// KH, KW, Ci] and `weighted` [draws, Co]. Places that nothing was drawn for are
// zero; where the sum of the sizes isn't finite, patches are zero and rows NaN.
//
// Partition: a place has shape.threads threads, about four accesses for each;
// shape.lanes of them take a tap, so that few channels leave none idle. Vectors
// of 16 bytes (kVector) are for NHWC alone: there neighbouring threads read the
// channels of a pixel, and always they write neighbouring elements, whole lines
// at once. In NCHW neighbouring threads read neighbouring planes, 32 bytes for
// each element; a tap's neighbours in the same row of X are in the same
// sectors, which L1 still has.
//
// Two blocks of a multiprocessor are all that is asked for: left to itself, the
// compiler spills registers to make room for more.
//
// Bytes decide: what is written, 4 for each of draws * (KH * KW * Ci + Co)
// elements, for the patches overlap and their X comes out of L2.
template <typename T, int kVector>
__global__ void __launch_bounds__(kGatherThreads, 2)
    GatherRows(ConvGeometry g, GatherShape shape, int64_t draws,
               const RowDraw* __restrict__ prepared,
               const double* __restrict__ size,
               const int64_t* __restrict__ drawn, const T* __restrict__ input,
               const T* __restrict__ out_backprop,
               typename AccumulatorOf<T>::type* __restrict__ patches,
               typename AccumulatorOf<T>::type* __restrict__ weighted) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const int worker = threadIdx.x % shape.threads;
  const int64_t place =
      static_cast<int64_t>(blockIdx.x) * (kGatherThreads / shape.threads) +
      threadIdx.x / shape.threads;
  if (place >= draws) return;
  const RowDraw draw = *prepared;
  const bool is_drawn = draw.is_finite && place < draw.drawn();
  const int64_t row = is_drawn ? drawn[place] : 0;
  const int64_t image = row / g.positions();
  const auto position = static_cast<int32_t>(row - image * g.positions());
  const bool planes = g.layout == Layout::kNCHW;

  const int64_t pixels = g.in_rows * g.in_cols;
  const int64_t stride = planes ? pixels : 1;
  const T* image_values = input + image * pixels * g.in_depth;
  const int lane = worker % shape.lanes;
  const int taps = static_cast<int>(g.taps());
  for (int tap = worker / shape.lanes; tap < taps;
       tap += shape.threads / shape.lanes) {
    const int64_t pixel = is_drawn ? g.PixelUnder(position, tap) : -1;
    const T* values = image_values + pixel * (planes ? 1 : g.in_depth);
    Accumulator* patch = patches + (place * taps + tap) * g.in_depth;
    for (int64_t ci = lane * kVector; ci < g.in_depth;
         ci += shape.lanes * kVector) {
      CopyElements<kVector>(values + ci * stride, pixel >= 0, Accumulator{1},
                            patch + ci);
    }
  }

  Accumulator weight = draw.is_finite ? 0 : NAN;
  if (is_drawn) weight = static_cast<Accumulator>(draw.weight() / size[row]);
  const int64_t out_stride = planes ? g.positions() : 1;
  const T* values = out_backprop + image * g.positions() * g.out_depth +
                    position * (planes ? 1 : g.out_depth);
  for (int64_t co = worker * kVector; co < g.out_depth;
       co += shape.threads * kVector) {
    CopyElements<kVector>(values + co * out_stride, is_drawn, weight,
                          weighted + place * g.out_depth + co);
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_CUDA_ROW_GATHER_KERNELS_H_
