// The kernels that draw rows from their sizes, in row_draw.h's order of
// additions, so that they draw what the CPU draws. Only .cu files include this.

#ifndef TF_APPROXGRAD_CC_CUDA_ROWS_DRAW_KERNELS_H_
#define TF_APPROXGRAD_CC_CUDA_ROWS_DRAW_KERNELS_H_

#include <cmath>
#include <cstdint>

#include "cc/common/row_draw.h"
#include "cc/cuda/runtime/launch.h"

namespace tf_approxgrad {
namespace {

constexpr int kDrawThreads = static_cast<int>(kRowBlock);
constexpr int kDrawnPart = static_cast<int>(kRowPart);
constexpr int kDrawnParts = kDrawThreads / kDrawnPart;

// A pass that lowers the limit, for all groups.
struct LimitPass {
  double* limit;
  LimitSums* sums;  // [groups]
};

// The sum over a block, in every thread, lanes added up by halves. `lanes` may
// be used again at once.
template <typename V>
__device__ V BlockSum(V value, SharedArray<V, kDrawThreads>& lanes) {
  const int lane = threadIdx.x;
  lanes[lane] = value;
  __syncthreads();
  for (int half = kDrawThreads / 2; half > 0; half /= 2) {
    if (lane < half) lanes[lane] += lanes[lane + half];
    __syncthreads();
  }
  const V sum = lanes[0];
  __syncthreads();
  return sum;
}

// The limit that a pass leads to, in every thread; infinity before the first.
__device__ inline double LimitAfter(
    const LimitPass& pass, int64_t groups, int64_t draws,
    SharedArray<double, kDrawThreads>& lanes,
    SharedArray<int64_t, kDrawThreads>& counts) {
  if (pass.limit == nullptr) return HUGE_VAL;
  double below = 0;
  int64_t whole = 0;
  for (int64_t i = threadIdx.x; i < groups; i += kDrawThreads) {
    below += pass.sums[i].below;
    whole += pass.sums[i].whole;
  }
  below = BlockSum(below, lanes);
  whole = BlockSum(whole, counts);
  return LowerLimit(*pass.limit, {below, whole}, draws);
}

// A pass of LimitOfLargest.
//
// Partition: a block has a group, a thread every kRowBlock-th of its rows, so
// that a warp reads 256 neighbouring bytes, kRowGroup / kRowBlock times. Every
// block makes the limit by itself, from what all blocks have left in the pass
// before: 16 bytes for each group, out of L2. That costs less than another
// launch.
__global__ void __launch_bounds__(kDrawThreads)
    SumBelowLimit(const double* __restrict__ size, int64_t rows, int64_t draws,
                  LimitPass before, LimitPass own) {
  __shared__ SharedArray<double, kDrawThreads> lanes;
  __shared__ SharedArray<int64_t, kDrawThreads> counts;
  const double limit = LimitAfter(before, gridDim.x, draws, lanes, counts);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowGroup;
  double below = 0;
  int64_t whole = 0;
#pragma unroll
  for (int64_t i = 0; i < kRowGroup; i += kRowBlock) {
    const int64_t row = first + i + threadIdx.x;
    if (row >= rows) continue;
    const double value = size[row];
    const bool is_whole = value >= limit;
    whole += is_whole;
    below += is_whole ? 0.0 : value;
  }
  below = BlockSum(below, lanes);
  whole = BlockSum(whole, counts);
  if (threadIdx.x != 0) return;
  own.sums[blockIdx.x] = {below, whole};
  if (blockIdx.x == 0) *own.limit = limit;
}

// Lowers sizes to the limit that the last pass leads to, and makes the sums of
// the parts again; `drawable` [blocks] gets how many sizes aren't 0. A size
// that isn't finite stays: the sum of all must show it.
//
// Partition: a block has kRowBlock neighbouring rows, a thread one of them. One
// thread for each part adds up in order, from shared memory.
__global__ void __launch_bounds__(kDrawThreads)
    LowerRows(int64_t rows, int64_t draws, LimitPass last,
              double* __restrict__ size, double* __restrict__ part_sums,
              int64_t* __restrict__ drawable) {
  __shared__ SharedArray<double, kDrawThreads> lanes;
  __shared__ SharedArray<int64_t, kDrawThreads> counts;
  const double limit = LimitAfter(last, RowGroups(rows), draws, lanes, counts);
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * kRowBlock + threadIdx.x;
  double value = 0;
  if (row < rows) {
    value = size[row];
    if (value > limit && value < HUGE_VAL) {
      value = limit;
      size[row] = value;
    }
  }
  lanes[threadIdx.x] = value;
  const int64_t count = BlockSum<int64_t>(value > 0, counts);
  if (threadIdx.x == 0) drawable[blockIdx.x] = count;
  const int64_t part =
      static_cast<int64_t>(blockIdx.x) * kDrawnParts + threadIdx.x;
  if (threadIdx.x >= kDrawnParts || part >= RowParts(rows)) return;
  double sum = 0;
#pragma unroll 16
  for (int i = 0; i < kDrawnPart; ++i) {
    sum += lanes[threadIdx.x * kDrawnPart + i];
  }
  part_sums[part] = sum;
}

// AddUpParts of row_draw.h; `draw` gets what the draw follows from. `drawable`
// is nullptr where sizes were not lowered.
//
// Partition: one block, in rounds of kRowBlock groups. A thread has a group's
// parts, eight loads of them in flight, and the first thread adds up the groups
// in shared memory. 2^17 rows are 2,048 parts of 64 groups: some 150 additions
// that wait for each other, about 2 us with the loads.
__global__ void __launch_bounds__(kDrawThreads)
    AddUpRowParts(int64_t rows, RowDraw asked,
                  const int64_t* __restrict__ drawable,
                  double* __restrict__ part_sums,
                  double* __restrict__ group_sums, RowDraw* __restrict__ draw) {
  constexpr int kParts = static_cast<int>(kRowGroup / kRowPart);
  constexpr int kUnroll = 8;
  __shared__ SharedArray<double, kDrawThreads> sums;
  __shared__ SharedArray<int64_t, kDrawThreads> counts;
  const int64_t parts = RowParts(rows);
  const int64_t groups = RowGroups(rows);
  if (drawable != nullptr) {
    int64_t count = 0;
    for (int64_t i = threadIdx.x; i < RowBlocks(rows); i += kDrawThreads) {
      count += drawable[i];
    }
    count = BlockSum(count, counts);
    if (count < asked.draws) asked.draws = count;
  }
  double total = 0;
  for (int64_t first = 0; first < groups; first += kDrawThreads) {
    const int64_t group = first + threadIdx.x;
    double running = 0;
    for (int i = 0; group < groups && i < kParts; i += kUnroll) {
      double read[kUnroll];
      const int64_t part = group * kParts + i;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        read[u] = part + u < parts ? part_sums[part + u] : 0.0;
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (part + u < parts) part_sums[part + u] = running;
        running += read[u];
      }
    }
    sums[threadIdx.x] = running;
    __syncthreads();
    if (threadIdx.x == 0) {
      const int64_t left = groups - first;
      const int count =
          left < kDrawThreads ? static_cast<int>(left) : kDrawThreads;
      for (int i = 0; i < count; ++i) {
        const double sum = sums[i];
        sums[i] = total;
        total += sum;
      }
    }
    __syncthreads();
    if (group < groups) group_sums[group] = sums[threadIdx.x];
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  group_sums[groups] = total;
  asked.SetTotal(total);
  *draw = asked;
}

// DrawRows of row_draw.h: the places of each row.
//
// Partition: a block has kRowBlock neighbouring rows, read at once. One thread
// for each part makes the running sums in order, in shared memory. Then a
// thread writes the places of its row: none for most, and neighbouring rows
// have neighbouring places. Where one row has nearly all of the sum, one thread
// writes them all, a store after the other.
__global__ void __launch_bounds__(kDrawThreads)
    DrawRowPlaces(int64_t rows, const RowDraw* __restrict__ prepared,
                  const double* __restrict__ size,
                  const double* __restrict__ part_sums,
                  const double* __restrict__ group_sums,
                  int64_t* __restrict__ drawn) {
  __shared__ SharedArray<double, kDrawThreads> sums;
  const RowDraw draw = *prepared;
  if (!draw.is_finite) return;
  const int thread = threadIdx.x;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowBlock + thread;
  sums[thread] = row < rows ? size[row] : 0.0;
  __syncthreads();
  if (thread < kDrawnParts) {
    double running = 0;
#pragma unroll 16
    for (int i = thread * kDrawnPart; i < (thread + 1) * kDrawnPart; ++i) {
      running += sums[i];
      sums[i] = running;
    }
  }
  __syncthreads();
  if (row >= rows) return;
  const double group = group_sums[row / kRowGroup];
  const double part = part_sums[row / kRowPart];
  const double before = thread % kDrawnPart == 0 ? 0.0 : sums[thread - 1];
  const int64_t end = draw.EndOf(group + (part + sums[thread]));
  for (int64_t place = draw.EndOf(group + (part + before)); place < end;
       ++place) {
    drawn[place] = row;
  }
}

}  // namespace
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_ROWS_DRAW_KERNELS_H_
