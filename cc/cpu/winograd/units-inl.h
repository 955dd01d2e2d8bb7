// The units of work: a piece of the tiles, or a chunk of the channels.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_UNITS_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_UNITS_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/winograd/fetch-inl.h"
#include "cc/cpu/winograd/inverse-inl.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/product-inl.h"
#include "cc/cpu/winograd/tiles-inl.h"
#include "cc/cpu/winograd/transform-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Multiplies all planes of a block's panels. Calls before_plane(plane), and
// between() for every pair of panels.
template <typename BeforePlane, typename Between>
inline void MultiplyBlock(const WinogradTask& task, int64_t block,
                          const PlaneChannels& channels, const float* panels,
                          bool is_first, float* sums,
                          const BeforePlane& before_plane,
                          const Between& between) {
  const WinogradPlan& plan = task.plan;
  int64_t rows[kPlanes];
  PlacesOfTile(plan, block * plan.block_tiles, EndOfBlock(plan, block), rows);
  for (int plane = 0; plane < kPlanes; ++plane) {
    before_plane(plane);
    if (rows[plane] == 0 && !is_first) continue;
    const PanelPair pair{
        panels + plane * plan.in_plane(),
        panels + kPlanes * plan.in_plane() + plane * plan.out_plane(),
        rows[plane], is_first};
    MultiplyPlane(plan, channels, pair, sums + plane * plan.sums_plane(),
                  between);
  }
}

// The kernels' `multiply_piece`. While a block is multiplied, the next one's
// pixels are on their way.
void MultiplyPiece(const WinogradTask& task, int64_t piece, float* panels,
                   float* sums) {
  const WinogradPlan& plan = task.plan;
  const PlaneChannels all{
      task.g.in_depth, task.g.out_depth, 0, plan.in_blocks, 0, plan.out_panels};
  const int64_t first = piece * plan.piece_blocks;
  const int64_t end = first + plan.piece_blocks < plan.blocks
                          ? first + plan.piece_blocks
                          : plan.blocks;
  const int64_t steps = kPlanes * plan.in_blocks * plan.out_panels;
  PixelStreams pixels(task.g, plan, task.input, task.out_backprop);
  for (int64_t block = first; block < end; ++block) {
    const int64_t tiles_end = EndOfBlock(plan, block);
    TransformTiles(task, block, block * plan.block_tiles, tiles_end, panels);
    // Drawn tiles don't follow each other in memory.
    if (block + 1 < end && task.drawn == nullptr) {
      pixels.Read(tiles_end, EndOfBlock(plan, block + 1), steps);
    }
    MultiplyBlock(
        task, block, all, panels, block == first, sums, [](int) {},
        [&] { pixels.Step(); });
  }
}

// The kernels' `multiply_chunk`.
void MultiplyChunk(const WinogradTask& task, int64_t block, int64_t chunk,
                   const float* panels, float* sums) {
  const WinogradPlan& plan = task.plan;
  PlaneChannels channels{task.g.in_depth,
                         task.g.out_depth,
                         chunk / plan.out_chunks * plan.chunk_in_blocks,
                         plan.chunk_in_blocks,
                         chunk % plan.out_chunks * plan.chunk_out_panels,
                         plan.chunk_out_panels};
  if (channels.first_in_block + channels.in_blocks > plan.in_blocks) {
    channels.in_blocks = plan.in_blocks - channels.first_in_block;
  }
  if (channels.first_out_panel + channels.out_panels > plan.out_panels) {
    channels.out_panels = plan.out_panels - channels.first_out_panel;
  }
  PanelStreams next(plan, channels, panels);
  MultiplyBlock(
      task, block, channels, panels, block == 0, sums,
      [&](int plane) {
        if (plane + 1 < kPlanes) next.Read(plane + 1);
      },
      [&] { next.Step(); });
  if (block + 1 < plan.blocks) return;
  for (int64_t panel = 0; panel < channels.out_panels; ++panel) {
    for (int64_t in = 0; in < channels.in_blocks; ++in) {
      const int64_t in_block = channels.first_in_block + in;
      WriteChannels(
          task,
          sums + (panel * channels.in_blocks + in) * kInBlock * kPanelWidth,
          plan.sums_plane(), in_block * kInBlock,
          EndOfInBlock(task.g, in_block), channels.first_out_panel + panel);
    }
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_UNITS_INL_H_
