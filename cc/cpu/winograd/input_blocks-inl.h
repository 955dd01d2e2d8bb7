// The input gradient of a block of tiles: dY transformed, multiplied by the
// transformed filters plane by plane, and transformed to pixels of dX.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_BLOCKS_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_BLOCKS_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/integer_math.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/winograd/fetch-inl.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/points-inl.h"
#include "cc/cpu/winograd/product-inl.h"
#include "cc/cpu/winograd/tiles-inl.h"
#include "cc/cpu/winograd/transform-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Tiles whose products stay in registers.
#if TF_APPROXGRAD_VECTOR_BYTES == 64
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif

// Channels of dY that are multiplied at a time: the filters of so many stay in
// L1 while all tiles pass by, and sums of so many round less.
constexpr int64_t kInnerChannels = 16 * kInBlock;

// kTileRows tiles times `channels` of a panel of the filters of one plane.
template <int kVectors>
__attribute__((noinline)) void MultiplyTiles(const WinogradInputPlan& plan,
                                             const float* tiles,
                                             const float* filters,
                                             int64_t channels, bool is_first,
                                             float* products) {
  for (int row = 0; row < kTileRows; ++row) {
    __builtin_prefetch(products + row * kPanelWidth, 1, 3);
  }
  ProductTile<kTileRows, kVectors> tile;
  for (int64_t left = channels; left > 0; left -= kInBlock) {
    tile.template Add<kInBlock, 1>(tiles, filters,
                                   left < kInBlock ? left : kInBlock);
    tiles += plan.panel_rows() * kInBlock;
    filters += kInBlock * kPanelWidth;
  }
  if (!is_first) tile.AddFrom(products);
  tile.StoreTo(products);
}

// All of one plane. The last rows may be beyond the plane's tiles, and hold
// what nobody reads. Calls between() for every kTileRows tiles and panel.
template <typename Between>
inline void MultiplyPlaneOfTiles(const WinogradInputTask& task,
                                 const float* tiles, const float* filters,
                                 int64_t rows, float* products,
                                 const Between& between) {
  const WinogradInputPlan& plan = task.plan;
  for (int64_t panel = 0; panel < plan.out_panels; ++panel) {
    const bool is_half =
        task.g.out_depth - panel * kPanelWidth <= kLanes<float>;
    const auto multiply = is_half ? &MultiplyTiles<1> : &MultiplyTiles<2>;
    for (int64_t first = 0; first < plan.in_depth; first += kInnerChannels) {
      const int64_t left = plan.in_depth - first;
      const int64_t channels = left < kInnerChannels ? left : kInnerChannels;
      const float* own =
          tiles + first / kInBlock * plan.panel_rows() * kInBlock;
      for (int64_t row = 0; row < rows; row += kTileRows) {
        between();
        multiply(plan, own + row * kInBlock, filters, channels, first == 0,
                 products + row * kPanelWidth);
      }
      filters += channels * kPanelWidth;
    }
    products += plan.panel_rows() * kPanelWidth;
  }
}

// Where the products of a tile come from and its pixels go to.
struct TileProducts {
  // The tile's row in the first panel of every plane.
  const float* const* planes;
  // kPoints a row.
  float* const* pixels;
  int64_t channels;
  // From one panel to the next.
  int64_t stride;
};

template <typename Rows, typename Cols>
inline __attribute__((always_inline)) void WritePixels(const TileProducts& tile,
                                                       int64_t channel,
                                                       int64_t place) {
  Vector<float> half[Rows::kInputs][kPoints];
#pragma GCC unroll 6
  for (int col = Cols::kBegin; col < Cols::kEnd; ++col) {
    Vector<float> at[kPoints];
    Vector<float> pixels[Rows::kInputs];
#pragma GCC unroll 6
    for (int row = Rows::kBegin; row < Rows::kEnd; ++row) {
      at[row] = LoadVector(tile.planes[row * kPoints + col] + place);
    }
    Rows::ApplyTransposed(at, pixels);
#pragma GCC unroll 4
    for (int row = 0; row < Rows::kInputs; ++row) half[row][col] = pixels[row];
  }
  const int64_t left = tile.channels - channel;
#pragma GCC unroll 4
  for (int row = 0; row < Rows::kInputs; ++row) {
    Vector<float> pixels[Cols::kInputs];
    Cols::ApplyTransposed(half[row], pixels);
#pragma GCC unroll 4
    for (int col = 0; col < Cols::kInputs; ++col) {
      StoreLanes(pixels[col], left, tile.pixels[row * kPoints + col] + channel);
    }
  }
}

// All channels of a tile.
template <typename Rows, typename Cols>
__attribute__((noinline)) void WriteTile(const TileProducts& tile) {
  for (int64_t channel = 0; channel < tile.channels; channel += kLanes<float>) {
    WritePixels<Rows, Cols>(
        tile, channel,
        channel / kPanelWidth * tile.stride + channel % kPanelWidth);
  }
}

using WriteFunction = void (*)(const TileProducts&);

// For tiles of [rows - 1][cols - 1] pixels of dX.
#define TF_APPROXGRAD_OF_ROWS(ROWS)                      \
  {                                                      \
    &WriteTile<OutTransform<ROWS>, OutTransform<1>>,     \
        &WriteTile<OutTransform<ROWS>, OutTransform<2>>, \
        &WriteTile<OutTransform<ROWS>, OutTransform<3>>, \
        &WriteTile<OutTransform<ROWS>, OutTransform<4>>, \
  }
constexpr WriteFunction kWriteTile[kTilePixels][kTilePixels] = {
    TF_APPROXGRAD_OF_ROWS(1), TF_APPROXGRAD_OF_ROWS(2),
    TF_APPROXGRAD_OF_ROWS(3), TF_APPROXGRAD_OF_ROWS(4)};
#undef TF_APPROXGRAD_OF_ROWS

// Calls visit(tile) for the tiles of a block, after it has set in `rows` the
// tile's place in each of its planes. What is left there are the numbers of
// tiles of each plane.
template <typename Visit>
inline void ForEachTile(const WinogradInputTask& task, int64_t first,
                        int64_t end, int64_t* rows, const Visit& visit) {
  for (int plane = 0; plane < kPlanes; ++plane) rows[plane] = 0;
  TileOfMap tile = FindTile(task.g, task.plan, first);
  for (int64_t index = first; index < end; ++index) {
    visit(tile);
    for (int row = PointsBegin(tile.rows); row < PointsEnd(tile.rows); ++row) {
      for (int col = PointsBegin(tile.cols); col < PointsEnd(tile.cols);
           ++col) {
        ++rows[row * kPoints + col];
      }
    }
    NextTile(task.g, &tile);
  }
}

// The kernels' `compute_block`.
void ComputeBlock(const WinogradInputTask& task, int64_t block, float* panels) {
  const ConvGeometry& g = task.g;
  const WinogradInputPlan& plan = task.plan;
  const int64_t first = block * plan.block_tiles;
  const int64_t end = EndOfBlock(plan, block);
  float* transformed = panels;
  float* products = panels + kPlanes * plan.in_plane();
  int64_t rows[kPlanes];

  const float* in_pixels[kPlanes];
  float* in_planes[kPlanes];
  const TilePanels in{in_pixels, in_planes, g.in_depth, kInBlock,
                      plan.panel_rows() * kInBlock};
  ForEachTile(task, first, end, rows, [&](const TileOfMap& tile) {
    ListInPixels(g, task.out_backprop, task.zeros, tile, in_pixels);
    for (int plane = 0; plane < kPlanes; ++plane) {
      in_planes[plane] =
          transformed + plane * plan.in_plane() + rows[plane] * kInBlock;
    }
    TileFunctions<InTransform>::kOf[tile.rows - 1][tile.cols - 1](in);
  });

  // While tiles are multiplied, the pixels that the products become are on
  // their way, and those of a later block.
  PixelStreams pixels(g, plan, task.out_backprop, task.input_backprop);
  const int64_t steps = kPlanes * plan.out_panels *
                        DivideUp(plan.in_depth, kInnerChannels) *
                        DivideUp(end - first, kTileRows);
  pixels.ReadOutput(first, end, steps);
  const int64_t later = first + plan.blocks_ahead * plan.block_tiles;
  if (later < plan.tiles) {
    pixels.ReadInput(later, EndOfBlock(plan, block + plan.blocks_ahead), steps);
  }
  for (int plane = 0; plane < kPlanes; ++plane) {
    MultiplyPlaneOfTiles(task, transformed + plane * plan.in_plane(),
                         task.transformed_filters + plane * plan.filter_plane(),
                         rows[plane], products + plane * plan.out_plane(),
                         [&] { pixels.Step(); });
  }

  float* out_pixels[kPlanes];
  const float* out_planes[kPlanes];
  const TileProducts out{out_planes, out_pixels, g.out_depth,
                         plan.panel_rows() * kPanelWidth};
  ForEachTile(task, first, end, rows, [&](const TileOfMap& tile) {
    ListOutPixels(g, task.input_backprop, tile, out_pixels);
    for (int plane = 0; plane < kPlanes; ++plane) {
      out_planes[plane] =
          products + plane * plan.out_plane() + rows[plane] * kPanelWidth;
    }
    kWriteTile[tile.rows - 1][tile.cols - 1](out);
  });
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_BLOCKS_INL_H_
