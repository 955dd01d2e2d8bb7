// Accumulation from a tile.
//
// A chunk of the channels of some examples is copied into a tile, which stays
// in the L2 cache while all output channels take their patches from it, and of
// which a run of examples stays in the L1 cache where the plan says so. The
// pixels of a tile don't compete for the same cache sets as those of X do when
// its channels are a power of two, and bfloat16, half and NCHW become
// contiguous floats on the way.
//
// Patches at the border read zeros. They lie behind each row and each image of
// the tile, and are the padding before the next as well.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_TILE_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_TILE_INL_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/positions/accumulation_add_patches-inl.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/taps-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Pixels that the copy asks the memory for in advance: a chunk is a piece of
// each, too far from the next for the processor's own prefetcher.
constexpr int64_t kPixelsAhead = 16;

// Copies `count` pixels of NHWC: of each, kVectors vectors to every one of
// kTiles tiles.
template <int kTiles, int kVectors, typename T, typename Accumulator>
void CopyPixels(const T* from, int64_t pixel_stride, int64_t count,
                int64_t tile_size, Accumulator* to) {
  constexpr int kWidth = kLanes<Accumulator>;
  for (int64_t pixel = 0; pixel < count; ++pixel) {
    __builtin_prefetch(from + kPixelsAhead * pixel_stride);
#pragma GCC unroll 2
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        StoreVector(LoadVector(from + (tile * kVectors + v) * kWidth),
                    to + tile * tile_size + v * kWidth);
      }
    }
    from += pixel_stride;
    to += kVectors * kWidth;
  }
}

// The same for `channels` elements of a pixel, any number up to a chunk, of
// which the rest becomes zero.
template <typename T, typename Accumulator>
void CopyPixels(const T* from, int64_t pixel_stride, int64_t count,
                int64_t channels, int64_t chunk, Accumulator* to) {
  constexpr int kWidth = kLanes<Accumulator>;
  for (int64_t pixel = 0; pixel < count; ++pixel) {
    int64_t c = 0;
    for (; c + kWidth <= channels; c += kWidth) {
      StoreVector(LoadVector(from + c), to + c);
    }
    for (; c < channels; ++c) to[c] = Load(from[c]);
    for (; c < chunk; ++c) to[c] = 0;
    from += pixel_stride;
    to += chunk;
  }
}

// One row of the chunks [first_chunk, first_chunk + chunks), from NHWC. `from`
// is the first of their channels.
template <typename T, typename Accumulator>
void PackRow(const AccumulationTask<T>& task, int64_t first_chunk,
             int64_t chunks, const T* from, Accumulator* to) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  if ((first_chunk + chunks) * plan.chunk <= g.in_depth) {
    if (chunks == 2 && plan.chunk_vectors == 1) {
      CopyPixels<2, 1>(from, g.in_depth, g.in_cols, plan.tile_size, to);
      return;
    }
    if (chunks == 1 && plan.chunk_vectors == 1) {
      CopyPixels<1, 1>(from, g.in_depth, g.in_cols, plan.tile_size, to);
      return;
    }
    if (chunks == 1 && plan.chunk_vectors == 2) {
      CopyPixels<1, 2>(from, g.in_depth, g.in_cols, plan.tile_size, to);
      return;
    }
  }
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t first_channel = (first_chunk + c) * plan.chunk;
    CopyPixels(from + c * plan.chunk, g.in_depth, g.in_cols,
               Smaller(plan.chunk, g.in_depth - first_channel), plan.chunk,
               to + c * plan.tile_size);
  }
}

// The same from NCHW. `from` is the row in the first plane.
template <typename T, typename Accumulator>
void PackPlanarRow(const AccumulationTask<T>& task, int64_t first_chunk,
                   int64_t chunks, const T* from, Accumulator* to) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  for (int64_t c = 0; c < chunks; ++c, to += plan.tile_size) {
    const int64_t left = g.in_depth - (first_chunk + c) * plan.chunk;
    for (int64_t channel = 0; channel < plan.chunk; ++channel) {
      if (channel < left) {
        for (int64_t col = 0; col < g.in_cols; ++col) {
          to[col * plan.chunk + channel] = Load(from[col]);
        }
        from += g.in_rows * g.in_cols;
      } else {
        for (int64_t col = 0; col < g.in_cols; ++col) {
          to[col * plan.chunk + channel] = 0;
        }
      }
    }
  }
}

// Clears `count` elements from `to` on, and those at the same place in the
// other tiles.
template <typename Accumulator>
void ClearInTiles(const AccumulationPlan& plan, int64_t count,
                  Accumulator* to) {
  for (int64_t tile = 0; tile < plan.unit_chunks; ++tile) {
    __builtin_memset(to + tile * plan.tile_size, 0,
                     count * sizeof(Accumulator));
  }
}

// Copies `chunks` neighbouring chunks of the examples [first, last) into as
// many tiles, and zeros around them if `clear`.
template <typename T, typename Accumulator>
void PackTiles(const AccumulationTask<T>& task, int64_t first_chunk,
               int64_t chunks, int64_t first, int64_t last, bool clear,
               Accumulator* tiles) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  // The zeros before the first image, behind each row, and behind each image.
  const int64_t row_gap = (plan.row_pixels - g.in_cols) * plan.chunk;
  const int64_t image_gap =
      (plan.image_pixels - g.in_rows * plan.row_pixels) * plan.chunk;
  if (clear) ClearInTiles(plan, plan.lead_pixels * plan.chunk, tiles);
  const bool nhwc = g.layout == Layout::kNHWC;
  const int64_t row_size = g.in_cols * (nhwc ? g.in_depth : 1);
  const int64_t first_channel = first_chunk * plan.chunk;
  for (int64_t n = first; n < last; ++n) {
    const T* from = task.input + n * g.in_rows * g.in_cols * g.in_depth +
                    first_channel * (nhwc ? 1 : g.in_rows * g.in_cols);
    Accumulator* to =
        tiles +
        (plan.lead_pixels + (n - first) * plan.image_pixels) * plan.chunk;
    for (int64_t row = 0; row < g.in_rows; ++row) {
      if (nhwc) {
        PackRow(task, first_chunk, chunks, from, to);
      } else {
        PackPlanarRow(task, first_chunk, chunks, from, to);
      }
      from += row_size;
      to += plan.row_pixels * plan.chunk;
      if (clear) ClearInTiles(plan, row_gap, to - row_gap);
    }
    if (clear) ClearInTiles(plan, image_gap, to);
  }
}

// Adds a run of a tile to the sums of the output channels [co, co + channels),
// which begin with the first run.
template <typename T, typename Accumulator>
void AddTileRun(const AccumulationTask<T>& task, int64_t co, int64_t channels,
                int64_t first, const Accumulator* tile, Accumulator* sums) {
  const ConvGeometry& g = task.g;
  const AccumulationPlan& plan = task.plan;
  const int64_t count = RunImages(g, plan, first) * task.k;
  const WeightedPatch<Accumulator>* list =
      task.patches + FirstPatchOfRun(g, plan, task.k, first, co);
  PatchRun<Accumulator> runs[kLargestGroup];
  for (int64_t c = 0; c < channels; ++c) runs[c] = {list + c * count, count};
  const FilterRange all{0, g.filter_rows, 0, g.filter_cols};
  AddTaps(task, all, tile, g.dilation_rows * plan.row_pixels * plan.chunk,
          g.dilation_cols * plan.chunk, runs, channels, first == 0, sums);
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_TILE_INL_H_
