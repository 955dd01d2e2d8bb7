// The kernel that gathers drawn rows. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_ROWS_GATHER_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_ROWS_GATHER_KERNELS_H_

#include <cmath>
#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

constexpr int kGatherThreads = 256;
// Places of a block.
constexpr int kMostPlaces = 64;
static_assert(kMostPlaces <= kGatherThreads, "a thread finds a row");
// Taps that a thread reads before it writes the first.
constexpr int kGatheredTaps = 4;

// How a place's elements are shared.
struct GatherShape {
  // Threads of a place, a power of two from a warp to a block.
  int threads = kWarpLanes;
  // Of those, the neighbours that take the channels of a tap in turns.
  int lanes = kWarpLanes;
  // Places that a block has at a time, and in all.
  int side_by_side = 1;
  int places = 1;
};

// What a place needs of its row.
template <typename Accumulator>
struct GatheredRow {
  // False where nothing was drawn: then all is zero but the weight.
  bool is_drawn;
  Accumulator weight;
  int64_t image, position;
  // The input's row and column under the patch's first tap.
  int64_t top, left;
};

template <typename Accumulator>
__device__ GatheredRow<Accumulator> FindRow(const ConvGeometry& g,
                                            const RowDraw& draw,
                                            const double* size,
                                            const int64_t* drawn,
                                            int64_t place) {
  GatheredRow<Accumulator> found = {};
  found.weight = draw.is_finite ? 0 : NAN;
  found.is_drawn = draw.is_finite && place < draw.drawn();
  if (!found.is_drawn) return found;
  const int64_t row = drawn[place];
  found.weight = static_cast<Accumulator>(draw.weight() / size[row]);
  found.image = Quotient(row, g.positions());
  found.position = row - found.image * g.positions();
  const int64_t out_row = Quotient(found.position, g.out_cols);
  const int64_t out_col = found.position - out_row * g.out_cols;
  found.top = out_row * g.stride_rows - g.pad_top;
  found.left = out_col * g.stride_cols - g.pad_left;
  return found;
}

// A place's patch [KH, KW, Ci]; zero outside the input.
template <int kVector, typename T, typename Accumulator>
__device__ void GatherPatch(const ConvGeometry& g, const GatherShape& shape,
                            const GatheredRow<Accumulator>& row,
                            const T* __restrict__ input,
                            Accumulator* __restrict__ patch) {
  const bool planes = g.layout == Layout::kNCHW;
  const int worker = threadIdx.x % shape.threads;
  const int lane = worker % shape.lanes;
  const int step = shape.threads / shape.lanes;
  const int taps = static_cast<int>(g.taps());
  const int filter_cols = static_cast<int>(g.filter_cols);
  const int64_t pixels = g.in_rows * g.in_cols;
  const int64_t stride = planes ? pixels : 1;
  const int64_t pixel_stride = planes ? 1 : g.in_depth;
  input += row.image * pixels * g.in_depth;
  int tap = worker / shape.lanes;
  int tap_row = tap / filter_cols;
  int tap_col = tap % filter_cols;
  for (; tap < taps; tap += kGatheredTaps * step) {
    const T* values[kGatheredTaps];
#pragma unroll
    for (int u = 0; u < kGatheredTaps; ++u) {
      values[u] = nullptr;
      if (!row.is_drawn || tap + u * step >= taps) continue;
      const int64_t in_row = row.top + tap_row * g.dilation_rows;
      const int64_t in_col = row.left + tap_col * g.dilation_cols;
      if (in_row >= 0 && in_row < g.in_rows && in_col >= 0 &&
          in_col < g.in_cols) {
        values[u] = input + (in_row * g.in_cols + in_col) * pixel_stride;
      }
      for (tap_col += step; tap_col >= filter_cols; tap_col -= filter_cols) {
        ++tap_row;
      }
    }
    for (int64_t ci = lane * kVector; ci < g.in_depth;
         ci += shape.lanes * kVector) {
      Packed<T, kVector> read[kGatheredTaps];
#pragma unroll
      for (int u = 0; u < kGatheredTaps; ++u) {
        read[u] = {};
        if (values[u] != nullptr) {
          read[u] = ReadPacked<kVector>(values[u] + ci * stride);
        }
      }
#pragma unroll
      for (int u = 0; u < kGatheredTaps; ++u) {
        if (tap + u * step >= taps) break;
        WriteElements(Unpack<T, kVector>(read[u]),
                      patch + (tap + u * step) * g.in_depth + ci);
      }
    }
  }
}

// A place's row of dY [Co], weighted.
template <int kVector, typename T, typename Accumulator>
__device__ void GatherRow(const ConvGeometry& g, const GatherShape& shape,
                          const GatheredRow<Accumulator>& row,
                          const T* __restrict__ out_backprop,
                          Accumulator* __restrict__ weighted) {
  const bool planes = g.layout == Layout::kNCHW;
  const int64_t stride = planes ? g.positions() : 1;
  out_backprop += row.image * g.positions() * g.out_depth +
                  row.position * (planes ? 1 : g.out_depth);
  const int worker = threadIdx.x % shape.threads;
  for (int64_t co = worker * kVector; co < g.out_depth;
       co += shape.threads * kVector) {
    Packed<T, kVector> read = {};
    if (row.is_drawn) read = ReadPacked<kVector>(out_backprop + co * stride);
    auto scaled = Unpack<T, kVector>(read);
#pragma unroll
    for (int v = 0; v < kVector; ++v) scaled.values[v] *= row.weight;
    WriteElements(scaled, weighted + co);
  }
}

// The patches of the drawn rows and the rows of dY, weighted: `patches` [draws,
// KH, KW, Ci] and `weighted` [draws, Co]. Places that nothing was drawn for are
// zero; where the sum of the sizes isn't finite, patches are zero and rows NaN.
//
// Partition: a place has shape.threads threads, in NHWC about eight accesses
// for each; shape.lanes of them take a tap, so that few channels leave none
// idle, and read up to four taps before the first is written. A block has
// several places side by side, and up to kMostPlaces in turns where there are
// blocks enough. What rows they are takes divisions and three reads, each after
// the other: the first threads of the block find out for all of its places.
// Vectors of 16 bytes (kVector) are for NHWC alone: there neighbouring threads
// read the channels of a pixel, and always they write neighbouring elements,
// whole lines at once. In NCHW neighbouring threads read neighbouring planes,
// 32 bytes for each element; a tap's neighbours in the same row of X are in the
// same sectors, and the same thread reads them.
//
// Two blocks of a multiprocessor are all that is asked for: left to itself, the
// compiler spills registers to make room for more.
//
// Bytes should decide: what is written, 4 for each of draws * (KH * KW * Ci +
// Co) elements, for the patches overlap and their X comes out of L2. It is a
// third of the time at best.
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
  __shared__ SharedArray<GatheredRow<Accumulator>, kMostPlaces> found;
  const int64_t first_place = static_cast<int64_t>(blockIdx.x) * shape.places;
  const int places = static_cast<int>(Least(shape.places, draws - first_place));
  if (static_cast<int>(threadIdx.x) < places) {
    found[threadIdx.x] = FindRow<Accumulator>(g, *prepared, size, drawn,
                                              first_place + threadIdx.x);
  }
  __syncthreads();
  for (int i = threadIdx.x / shape.threads; i < places;
       i += shape.side_by_side) {
    const int64_t place = first_place + i;
    GatherPatch<kVector>(g, shape, found[i], input,
                         patches + place * g.filter_size());
    GatherRow<kVector>(g, shape, found[i], out_backprop,
                       weighted + place * g.out_depth);
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_ROWS_GATHER_KERNELS_H_
