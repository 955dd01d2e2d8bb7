// The hot loops of the accumulation, for max and sampled.
//
// The sums of a block of up to 3x3 taps by one chunk of input channels
// (kVectors vectors) live in registers while the weighted patches of one output
// channel stream by: per patch one broadcast of its weight, and per tap and
// vector one load of X fused into a multiply-add. Nothing else happens in
// AddPatches: patch offsets are computed before, and all taps are in bounds.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_ADD_PATCHES_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_ADD_PATCHES_INL_H_

#include <cstdint>

#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Taps outside the input are read here; as wide as the widest chunk.
alignas(64) static const char kZeros[8 * TF_APPROXGRAD_VECTOR_BYTES] = {};

// Weighted patches of one output channel: each begins at its place.
template <typename Accumulator>
struct PatchRun {
  const WeightedPatch<Accumulator>* patches;
  int64_t count;
};

// Patches of which some taps lie outside: the rows and columns of taps that lie
// inside, bit by bit.
template <typename Accumulator>
struct BorderRun : PatchRun<Accumulator> {
  const uint64_t* rows;
  const uint64_t* cols;
};

// A block of the filter's taps, and the distances that lead through it.
struct TapBlock {
  int64_t first_row, first_col;
  int64_t row_stride, col_stride;  // in the input, in elements
  int64_t sums_row_stride, sums_channel_stride;
  bool fresh;  // the sums begin here, at zero
};

// The sums of kRows x kCols taps by kVectors vectors, in registers.
template <int kRows, int kCols, int kVectors, typename Accumulator>
struct RegisterSums {
  static constexpr int kWidth = kLanes<Accumulator>;

  Vector<Accumulator> sum[kRows][kCols * kVectors];

  inline __attribute__((always_inline)) void Load(const Accumulator* sums,
                                                  int64_t row_stride,
                                                  bool fresh) {
    if (fresh) {
#pragma GCC unroll 3
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 24
        for (int i = 0; i < kCols * kVectors; ++i) {
          sum[row][i] = Vector<Accumulator>{};
        }
      }
      return;
    }
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 24
      for (int i = 0; i < kCols * kVectors; ++i) {
        sum[row][i] = LoadVector(sums + row * row_stride + i * kWidth);
      }
    }
  }

  inline __attribute__((always_inline)) void Store(Accumulator* sums,
                                                   int64_t row_stride) const {
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 24
      for (int i = 0; i < kCols * kVectors; ++i) {
        StoreVector(sum[row][i], sums + row * row_stride + i * kWidth);
      }
    }
  }

  inline __attribute__((always_inline)) void Add(Vector<Accumulator> weight,
                                                 int row, int col,
                                                 const Accumulator* tap) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[row][col * kVectors + v] += weight * LoadVector(tap + v * kWidth);
    }
  }
};

// Adds patches, all of whose taps lie inside, for a block of taps and one
// chunk: runs[0] to the sums of one output channel, runs[1] to those of the
// next, and so on. kAdjacent: neighbouring taps of a row are neighbouring
// chunks.
template <int kRows, int kCols, int kVectors, bool kAdjacent,
          typename Accumulator>
void AddPatches(const Accumulator* input, const PatchRun<Accumulator>* runs,
                int64_t channels, const TapBlock& block, Accumulator* sums) {
  const int64_t row_stride = block.row_stride;
  const int64_t col_stride =
      kAdjacent ? kVectors * kLanes<Accumulator> : block.col_stride;
  for (int64_t channel = 0; channel < channels; ++channel) {
    RegisterSums<kRows, kCols, kVectors, Accumulator> registers;
    registers.Load(sums, block.sums_row_stride, block.fresh);
    const WeightedPatch<Accumulator>* patch = runs[channel].patches;
    const WeightedPatch<Accumulator>* const end = patch + runs[channel].count;
    for (; patch != end; ++patch) {
      const Vector<Accumulator> weight = Broadcast(patch->weight);
      const Accumulator* tap_row = InRegister(input + patch->place);
#pragma GCC unroll 3
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
        for (int col = 0; col < kCols; ++col) {
          registers.Add(weight, row, col, tap_row + col * col_stride);
        }
        if (row + 1 < kRows) tap_row = InRegister(tap_row + row_stride);
      }
    }
    registers.Store(sums, block.sums_row_stride);
    sums += block.sums_channel_stride;
  }
}

// The same for patches of which some taps lie outside and read zeros.
template <int kRows, int kCols, int kVectors, typename Accumulator>
void AddBorderPatches(const Accumulator* input,
                      const BorderRun<Accumulator>* runs, int64_t channels,
                      const TapBlock& block, Accumulator* sums) {
  const Accumulator* zeros = reinterpret_cast<const Accumulator*>(kZeros);
  for (int64_t channel = 0; channel < channels; ++channel) {
    const BorderRun<Accumulator>& run = runs[channel];
    RegisterSums<kRows, kCols, kVectors, Accumulator> registers;
    registers.Load(sums, block.sums_row_stride, block.fresh);
    for (int64_t i = 0; i < run.count; ++i) {
      const uint64_t rows = run.rows[i] >> block.first_row;
      const uint64_t cols = run.cols[i] >> block.first_col;
      const int64_t place = run.patches[i].place;
      const Vector<Accumulator> weight = Broadcast(run.patches[i].weight);
#pragma GCC unroll 3
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
        for (int col = 0; col < kCols; ++col) {
          const bool inside = ((rows >> row) & (cols >> col) & 1) != 0;
          const int64_t tap =
              place + row * block.row_stride + col * block.col_stride;
          registers.Add(weight, row, col, inside ? input + tap : zeros);
        }
      }
    }
    registers.Store(sums, block.sums_row_stride);
    sums += block.sums_channel_stride;
  }
}

template <typename Run, typename Accumulator>
using BlockKernel = void (*)(const Accumulator*, const Run*, int64_t,
                             const TapBlock&, Accumulator*);

template <int kRows, int kCols, int kVectors, typename Accumulator>
BlockKernel<PatchRun<Accumulator>, Accumulator> KernelOf(
    const PatchRun<Accumulator>*, bool adjacent) {
  return adjacent ? &AddPatches<kRows, kCols, kVectors, true, Accumulator>
                  : &AddPatches<kRows, kCols, kVectors, false, Accumulator>;
}

template <int kRows, int kCols, int kVectors, typename Accumulator>
BlockKernel<BorderRun<Accumulator>, Accumulator> KernelOf(
    const BorderRun<Accumulator>*, bool) {
  return &AddBorderPatches<kRows, kCols, kVectors, Accumulator>;
}

// The kernel for a block of rows x cols taps.
template <typename Accumulator, int kVectors, typename Run>
BlockKernel<Run, Accumulator> KernelOfBlock(const Run* runs, int64_t rows,
                                            int64_t cols, bool adjacent) {
  switch (rows * (kTapBlock + 1) + cols) {
    case 1 * (kTapBlock + 1) + 1:
      return KernelOf<1, 1, kVectors, Accumulator>(runs, adjacent);
    case 1 * (kTapBlock + 1) + 2:
      return KernelOf<1, 2, kVectors, Accumulator>(runs, adjacent);
    case 1 * (kTapBlock + 1) + 3:
      return KernelOf<1, 3, kVectors, Accumulator>(runs, adjacent);
    case 2 * (kTapBlock + 1) + 1:
      return KernelOf<2, 1, kVectors, Accumulator>(runs, adjacent);
    case 2 * (kTapBlock + 1) + 2:
      return KernelOf<2, 2, kVectors, Accumulator>(runs, adjacent);
    case 2 * (kTapBlock + 1) + 3:
      return KernelOf<2, 3, kVectors, Accumulator>(runs, adjacent);
    case 3 * (kTapBlock + 1) + 1:
      return KernelOf<3, 1, kVectors, Accumulator>(runs, adjacent);
    case 3 * (kTapBlock + 1) + 2:
      return KernelOf<3, 2, kVectors, Accumulator>(runs, adjacent);
    default:
      return KernelOf<3, 3, kVectors, Accumulator>(runs, adjacent);
  }
}

// More than 2 vectors are planned for a single tap only.
template <typename Accumulator, typename Run>
BlockKernel<Run, Accumulator> KernelOfBlock(const Run* runs, int chunk_vectors,
                                            int64_t rows, int64_t cols,
                                            bool adjacent) {
  switch (chunk_vectors) {
    case 8:
      return KernelOf<1, 1, 8, Accumulator>(runs, adjacent);
    case 4:
      return KernelOf<1, 1, 4, Accumulator>(runs, adjacent);
    case 2:
      return KernelOfBlock<Accumulator, 2>(runs, rows, cols, adjacent);
    default:
      return KernelOfBlock<Accumulator, 1>(runs, rows, cols, adjacent);
  }
}

// Adds the runs of neighbouring output channels to their sums [taps, chunk],
// which are zero so far if `fresh`, for the taps of `range`, block by block.
// `input` is the first tap of a patch with place 0, and the strides are the
// distances between neighbouring taps, all in elements.
template <typename T, typename Run, typename Accumulator>
void AddTaps(const AccumulationTask<T>& task, const FilterRange& range,
             const Accumulator* input, int64_t row_stride, int64_t col_stride,
             const Run* runs, int64_t channels, bool fresh, Accumulator* sums) {
  const int64_t chunk = task.plan.chunk;
  const int64_t filter_cols = task.g.filter_cols;
  for (int64_t kh = range.first_row; kh < range.end_row; kh += kTapBlock) {
    for (int64_t kw = range.first_col; kw < range.end_col; kw += kTapBlock) {
      const auto kernel = KernelOfBlock<Accumulator>(
          runs, task.plan.chunk_vectors, Smaller(range.end_row - kh, kTapBlock),
          Smaller(range.end_col - kw, kTapBlock), col_stride == chunk);
      const TapBlock block{kh,
                           kw,
                           row_stride,
                           col_stride,
                           filter_cols * chunk,
                           task.g.taps() * chunk,
                           fresh};
      kernel(input + kh * row_stride + kw * col_stride, runs, channels, block,
             sums + (kh * filter_cols + kw) * chunk);
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_ADD_PATCHES_INL_H_
