// The kernels that measure rows. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_ROWS_SIZE_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_ROWS_SIZE_KERNELS_H_

#include <cstdint>
#include <type_traits>

#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cuda/runtime/elements.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

// Lanes of the sum of a vector's squares, as on the CPU (cpu/rows/norms-inl.h),
// so that both get the same bits.
constexpr int kSquareLanes = 8;
// Vectors that a block measures, and its threads.
constexpr int kMeasured = static_cast<int>(kRowPart);
constexpr int kMeasureThreads = kMeasured * kSquareLanes;
constexpr int kPatchThreads = 256;
// Padded, so that neither layout writes to one bank twice.
constexpr int kLaneStride = kMeasured + 2;
using SquareSums = SharedArray<double, kSquareLanes * kLaneStride>;

template <typename T>
__device__ double AddSquare(double sum, T element) {
  const double value = LoadElement(element);
  if constexpr (std::is_same_v<T, double>) {
    return sum + value * value;
  } else {
    // The square is exact, so that this rounds once, as the sum does.
    return MultiplyAdd(value, value, sum);
  }
}

// The squares of every kSquareLanes-th of `count` channels, `stride` elements
// apart. Inlined where the stride is a constant, it is part of the loads.
template <int kUnroll, typename T>
__device__ __forceinline__ double SumStrided(const T* __restrict__ values,
                                             int64_t stride, int64_t count) {
  double sum = 0;
  for (; count > 0; count -= kUnroll * kSquareLanes) {
    T read[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (u * kSquareLanes < count) read[u] = values[u * stride];
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (u * kSquareLanes < count) sum = AddSquare(sum, read[u]);
    }
    values += kUnroll * stride;
  }
  return sum;
}

// The lanes of the squared norms of the kMeasured vectors from `first` on, of
// `count` in an array [images, positions, channels] or, in NCHW, [images,
// channels, positions].
template <typename T>
__device__ void SumSquares(Layout layout, const T* __restrict__ values,
                           int64_t positions, int64_t channels, int64_t first,
                           int64_t count, SquareSums& sums) {
  constexpr int kUnroll = 8;
  const bool planes = layout == Layout::kNCHW;
  const int thread = threadIdx.x;
  const int vector = planes ? thread % kMeasured : thread / kSquareLanes;
  const int lane = planes ? thread / kMeasured : thread % kSquareLanes;
  const int64_t number = first + vector;
  double sum = 0;
  if (number < count) {
    if (planes) {
      values += number +
                Quotient(number, positions) * positions * (channels - 1) +
                lane * positions;
      sum = SumStrided<kUnroll>(values, kSquareLanes * positions,
                                channels - lane);
    } else {
      values += number * channels + lane;
      sum = SumStrided<kUnroll>(values, kSquareLanes, channels - lane);
    }
  }
  sums[lane * kLaneStride + vector] = sum;
}

__device__ inline double AddSquareLanes(const SquareSums& sums, int vector) {
  const auto lane = [&](int i) { return sums[i * kLaneStride + vector]; };
  return ((lane(0) + lane(4)) + (lane(2) + lane(6))) +
         ((lane(1) + lane(5)) + (lane(3) + lane(7)));
}

// The squared norms of X's pixels, `pixel_sums` [N, H, W].
//
// Partition: as MeasureRows, with pixels in place of rows.
template <typename T>
__global__ void __launch_bounds__(kMeasureThreads)
    SquarePixels(ConvGeometry g, const T* __restrict__ input,
                 double* __restrict__ pixel_sums) {
  __shared__ SquareSums sums;
  const int64_t pixels = g.in_rows * g.in_cols;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kMeasured;
  SumSquares(g.layout, input, pixels, g.in_depth, first, g.batch * pixels,
             sums);
  __syncthreads();
  const int64_t pixel = first + threadIdx.x;
  if (threadIdx.x < kMeasured && pixel < g.batch * pixels) {
    pixel_sums[pixel] = AddSquareLanes(sums, threadIdx.x);
  }
}

// The squared norms of the patches, from those of the pixels: `patch_sums`
// [rows].
//
// Partition: a thread has a row, so that a warp reads neighbouring pixels, all
// of a tap at once where the stride is 1. X was read for the pixels; what is
// read here is 8 bytes for each tap, out of L1. Two blocks of a multiprocessor
// are asked for, so that the compiler spills nothing.
__global__ void __launch_bounds__(kPatchThreads, 2)
    SumPatches(ConvGeometry g, const double* __restrict__ pixel_sums,
               double* __restrict__ patch_sums) {
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * kPatchThreads + threadIdx.x;
  const int64_t image = row / g.positions();
  if (image >= g.batch) return;
  const auto position = static_cast<int32_t>(row - image * g.positions());
  const int32_t out_cols = static_cast<int32_t>(g.out_cols);
  const int64_t top = position / out_cols * g.stride_rows - g.pad_top;
  const int64_t left = position % out_cols * g.stride_cols - g.pad_left;
  pixel_sums += image * g.in_rows * g.in_cols;
  double sum = 0;
  for (int64_t kh = 0; kh < g.filter_rows; ++kh) {
    const int64_t in_row = top + kh * g.dilation_rows;
    if (in_row < 0 || in_row >= g.in_rows) continue;
    for (int64_t kw = 0; kw < g.filter_cols; ++kw) {
      const int64_t col = left + kw * g.dilation_cols;
      if (col >= 0 && col < g.in_cols) {
        sum += pixel_sums[in_row * g.in_cols + col];
      }
    }
  }
  patch_sums[row] = sum;
}

// The sizes of the rows, and the sum of each part of kRowPart rows. If they are
// products, `size` holds the squared norms of the patches before.
//
// Partition: a block has the rows of a part, a row eight threads, the lanes of
// its sum. In NHWC they are neighbours and read neighbouring channels, so that
// a warp reads four rows' runs of eight: whole sectors of 32 bytes in float32,
// halves in the types of 16 bits, whose other half L1 has for the next read. In
// NCHW a warp reads 32 neighbouring rows, 128 bytes of float32, of every eighth
// channel. Each thread has eight loads in flight. The lanes meet in shared
// memory, and one thread adds up the part in the order of its rows.
//
// dY is read once, and bytes decide: an H100 turns 16 floats a cycle and
// multiprocessor into doubles, where memory brings 3.6. GPUs that turn 2 need
// about twice the time.
template <typename T>
__global__ void __launch_bounds__(kMeasureThreads)
    MeasureRows(ConvGeometry g, bool by_product,
                const T* __restrict__ out_backprop, double* __restrict__ size,
                double* __restrict__ part_sums) {
  __shared__ SquareSums sums;
  __shared__ SharedArray<double, kMeasured> sizes;
  const int64_t rows = g.batch * g.positions();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kMeasured;
  SumSquares(g.layout, out_backprop, g.positions(), g.out_depth, first, rows,
             sums);
  __syncthreads();
  if (threadIdx.x < kMeasured) {
    const int64_t row = first + threadIdx.x;
    double own = 0;
    if (row < rows) {
      own = AddSquareLanes(sums, threadIdx.x);
      if (by_product) own *= size[row];
      own = sqrt(own);
      size[row] = own;
    }
    sizes[threadIdx.x] = own;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
#pragma unroll 16
    for (int i = 0; i < kMeasured; ++i) sum += sizes[i];
    part_sums[blockIdx.x] = sum;
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_ROWS_SIZE_KERNELS_H_
