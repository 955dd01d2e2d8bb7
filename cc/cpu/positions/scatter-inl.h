// The scatter of filter slices into the input gradient.
//
// The accumulation of the filter gradient the other way round. A unit is one
// chunk of input channels of a run of examples, whose sums make a tile that
// stays in L1 where it fits. The taps of one output channel's slice live in
// registers while its kept positions stream by: per position one broadcast of
// its weight, and per tap and vector one line of the tile that is read, added
// to and written. A position's taps outside the input fall between the tile's
// images, where nobody reads them. No unit adds to what another adds to.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/input_write-inl.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/accumulation_add_patches-inl.h"
#include "cc/cpu/positions/accumulation_clipped-inl.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/scatter_general-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// The taps of a block, in registers.
template <int kRows, int kCols, int kVectors, typename Accumulator>
struct RegisterSlice {
  static constexpr int kWidth = kLanes<Accumulator>;

  Vector<Accumulator> tap[kRows][kCols * kVectors];

  inline __attribute__((always_inline)) void Load(const Accumulator* slice,
                                                  int64_t row_stride) {
#pragma GCC unroll 3
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 24
      for (int i = 0; i < kCols * kVectors; ++i) {
        tap[row][i] = LoadVector(slice + row * row_stride + i * kWidth);
      }
    }
  }

  inline __attribute__((always_inline)) static void Fetch(
      const Accumulator* slice, int64_t row_stride) {
    constexpr int kLine = 64 / sizeof(Accumulator);
    for (int row = 0; row < kRows; ++row) {
      for (int i = 0; i < kCols * kVectors * kWidth; i += kLine) {
        __builtin_prefetch(slice + row * row_stride + i);
      }
    }
  }

  inline __attribute__((always_inline)) void AddTo(Vector<Accumulator> weight,
                                                   int row, int col,
                                                   Accumulator* sums) const {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      StoreVector(
          LoadVector(sums + v * kWidth) + weight * tap[row][col * kVectors + v],
          sums + v * kWidth);
    }
  }
};

// The first of them.
template <typename Accumulator>
inline void FetchPatches(const PatchRun<Accumulator>& run) {
  constexpr int64_t kLine = 64 / sizeof(WeightedPatch<Accumulator>);
  const int64_t count = Smaller(run.count, 8 * kLine);
  for (int64_t i = 0; i < count; i += kLine) {
    __builtin_prefetch(run.patches + i);
  }
}

// Adds the slices of neighbouring output channels to a tile, for a block of
// taps: runs[0] lists where the first channel's go, runs[1] the second's, and
// so on, each in `turns` turns, one patch of each example at a time: those of
// one example overlap, and would wait for what the one before has written.
// kAdjacent: neighbouring taps of a row are neighbouring chunks.
// What comes after the current channel is asked for in advance, for on small
// maps its patches lie in pieces that the processor's own prefetcher doesn't
// foresee.
template <int kRows, int kCols, int kVectors, bool kAdjacent,
          typename Accumulator>
void ScatterPatches(const Accumulator* slices,
                    const PatchRun<Accumulator>* runs, int64_t channels,
                    int64_t turns, const TapBlock& block, Accumulator* tile) {
  const int64_t row_stride = block.row_stride;
  const int64_t col_stride =
      kAdjacent ? kVectors * kLanes<Accumulator> : block.col_stride;
  for (int64_t channel = 0; channel < channels; ++channel) {
    RegisterSlice<kRows, kCols, kVectors, Accumulator> slice;
    slice.Load(slices, block.sums_row_stride);
    const PatchRun<Accumulator>& run = runs[channel];
    if (channel + 1 < channels) {
      FetchPatches(runs[channel + 1]);
      slice.Fetch(slices + block.sums_channel_stride, block.sums_row_stride);
    }
    for (int64_t turn = 0; turn < turns; ++turn) {
      for (int64_t i = turn; i < run.count; i += turns) {
        const Vector<Accumulator> weight = Broadcast(run.patches[i].weight);
        Accumulator* tap_row = InRegister(tile + run.patches[i].place);
#pragma GCC unroll 3
        for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
          for (int col = 0; col < kCols; ++col) {
            slice.AddTo(weight, row, col, tap_row + col * col_stride);
          }
          if (row + 1 < kRows) tap_row = InRegister(tap_row + row_stride);
        }
      }
    }
    slices += block.sums_channel_stride;
  }
}

template <typename Accumulator>
using ScatterKernel = void (*)(const Accumulator*, const PatchRun<Accumulator>*,
                               int64_t, int64_t, const TapBlock&, Accumulator*);

template <int kRows, int kCols, int kVectors, typename Accumulator>
ScatterKernel<Accumulator> ScatterKernelOf(bool adjacent) {
  return adjacent ? &ScatterPatches<kRows, kCols, kVectors, true, Accumulator>
                  : &ScatterPatches<kRows, kCols, kVectors, false, Accumulator>;
}

template <int kVectors, typename Accumulator>
ScatterKernel<Accumulator> ScatterKernelOfBlock(int64_t rows, int64_t cols,
                                                bool adjacent) {
  static_assert(kTapBlock == 3, "the blocks are listed here");
  switch (rows * 10 + cols) {
    case 11:
      return ScatterKernelOf<1, 1, kVectors, Accumulator>(adjacent);
    case 12:
      return ScatterKernelOf<1, 2, kVectors, Accumulator>(adjacent);
    case 13:
      return ScatterKernelOf<1, 3, kVectors, Accumulator>(adjacent);
    case 21:
      return ScatterKernelOf<2, 1, kVectors, Accumulator>(adjacent);
    case 22:
      return ScatterKernelOf<2, 2, kVectors, Accumulator>(adjacent);
    case 23:
      return ScatterKernelOf<2, 3, kVectors, Accumulator>(adjacent);
    case 31:
      return ScatterKernelOf<3, 1, kVectors, Accumulator>(adjacent);
    case 32:
      return ScatterKernelOf<3, 2, kVectors, Accumulator>(adjacent);
    default:
      return ScatterKernelOf<3, 3, kVectors, Accumulator>(adjacent);
  }
}

// More than 2 vectors are planned for a single tap only.
template <typename Accumulator>
ScatterKernel<Accumulator> ScatterKernelOfChunk(int chunk_vectors, int64_t rows,
                                                int64_t cols, bool adjacent) {
  switch (chunk_vectors) {
    case 8:
      return ScatterKernelOf<1, 1, 8, Accumulator>(adjacent);
    case 4:
      return ScatterKernelOf<1, 1, 4, Accumulator>(adjacent);
    case 2:
      return ScatterKernelOfBlock<2, Accumulator>(rows, cols, adjacent);
    default:
      return ScatterKernelOfBlock<1, Accumulator>(rows, cols, adjacent);
  }
}

// Adds the slices [channels, taps, chunk] for the taps of `range`, block by
// block. `tile` is where the first tap of a patch with place 0 lies, and the
// strides are the distances between neighbouring taps, all in elements.
template <typename T, typename Accumulator>
void ScatterTaps(const ScatterTask<T>& task, const FilterRange& range,
                 const Accumulator* slices, int64_t row_stride,
                 int64_t col_stride, const PatchRun<Accumulator>* runs,
                 int64_t channels, int64_t turns, Accumulator* tile) {
  const int64_t chunk = task.plan.chunk;
  const int64_t filter_cols = task.g.filter_cols;
  for (int64_t kh = range.first_row; kh < range.end_row; kh += kTapBlock) {
    for (int64_t kw = range.first_col; kw < range.end_col; kw += kTapBlock) {
      const auto kernel = ScatterKernelOfChunk<Accumulator>(
          task.plan.chunk_vectors, Smaller(range.end_row - kh, kTapBlock),
          Smaller(range.end_col - kw, kTapBlock), col_stride == chunk);
      const TapBlock block{kh,
                           kw,
                           row_stride,
                           col_stride,
                           filter_cols * chunk,
                           task.g.taps() * chunk,
                           false};
      kernel(slices + (kh * filter_cols + kw) * chunk, runs, channels, turns,
             block, tile + kh * row_stride + kw * col_stride);
    }
  }
}

// The patches of each class of a run, class by class, for the output channels
// [co, co + channels).
template <typename T, typename Accumulator>
void ScatterClippedRun(const ScatterTask<T>& task, const PatchClasses& classes,
                       int64_t co, int64_t channels, int64_t first,
                       const Accumulator* slices, PatchRun<Accumulator>* runs,
                       Accumulator* tile) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t count = runs[0].count;
  for (int64_t c = 0; c < channels; ++c) runs[c].count = 0;
  for (int32_t cls = 0; cls < classes.count; ++cls) {
    for (int64_t c = 0; c < channels; ++c) {
      const int32_t* counts =
          task.class_counts +
          ClassCountsIndex(plan, co + c, first / plan.run_images);
      runs[c].patches += runs[c].count;
      runs[c].count = counts[cls];
      if (runs[c].count != kNotFinite) continue;
      // It stands in place of the first class' count.
      runs[c].count = count;
      for (int32_t other = 1; other < classes.count; ++other) {
        runs[c].count -= counts[other];
      }
    }
    ScatterTaps(task, classes.ranges[cls], slices,
                g.dilation_rows * g.in_cols * plan.chunk,
                g.dilation_cols * plan.chunk, runs, channels, 1, tile);
  }
}

// A run of a tile.
template <typename T, typename Accumulator>
void ScatterRun(const ScatterTask<T>& task, int64_t first, int64_t chunk,
                Accumulator* tile) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t count = RunImages(g, plan, first) * task.k;
  const int64_t slice_size = g.taps() * plan.chunk;
  const FilterRange all{0, g.filter_rows, 0, g.filter_cols};
  PatchClasses classes;
  if (plan.clipped) classes = ClassifyPatches(g, plan);
  PatchRun<Accumulator> runs[kLargestGroup];
  for (int64_t co = 0; co < g.out_depth; co += kLargestGroup) {
    const int64_t channels = Smaller(kLargestGroup, g.out_depth - co);
    const WeightedPatch<Accumulator>* list =
        task.patches + FirstPatchOfRun(g, plan, task.k, first, co);
    for (int64_t c = 0; c < channels; ++c) runs[c] = {list + c * count, count};
    const Accumulator* slices =
        task.packed_filter + (chunk * g.out_depth + co) * slice_size;
    if (plan.clipped) {
      ScatterClippedRun(task, classes, co, channels, first, slices, runs, tile);
    } else {
      ScatterTaps(task, all, slices,
                  g.dilation_rows * plan.row_pixels * plan.chunk,
                  g.dilation_cols * plan.chunk, runs, channels, task.k, tile);
    }
  }
}

template <typename T>
void ScatterUnit(const ScatterTask<T>& task, int64_t unit,
                 typename AccumulatorOf<T>::type* tile) {
  using Accumulator = typename AccumulatorOf<T>::type;
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t chunk = unit / plan.runs;
  const int64_t first = unit % plan.runs * plan.run_images;
  __builtin_memset(tile, 0, plan.tile_size * sizeof(Accumulator));
  if (plan.path == AccumulationPath::kTile) {
    ScatterRun(task, first, chunk, tile);
  } else {
    ScatterExample(task, first, tile);
  }
  const int64_t first_in = chunk * plan.chunk;
  const int64_t images = RunImages(g, plan, first);
  for (int64_t n = 0; n < images; ++n) {
    const SummedImage<Accumulator> image{
        tile + (plan.lead_pixels + n * plan.image_pixels) * plan.chunk,
        plan.row_pixels * plan.chunk, plan.chunk};
    WriteImage(
        g, image, first_in, Smaller(plan.chunk, g.in_depth - first_in),
        task.scale, plan.streams_result,
        task.in_backprop + (first + n) * g.in_rows * g.in_cols * g.in_depth);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_INL_H_
