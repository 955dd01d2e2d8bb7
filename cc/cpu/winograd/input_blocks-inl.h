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
#include "cc/cpu/winograd/filters-inl.h"
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

// The tiles [0, rows) of one plane times `channels` of a panel of its filters,
// of which `first` is the first. The last rows may be beyond the plane's tiles,
// and hold what nobody reads. Calls between() for every kTileRows tiles.
template <typename Between>
inline void MultiplyPanelOfTiles(const WinogradInputTask& task,
                                 const float* tiles, const float* filters,
                                 int64_t panel, int64_t first, int64_t channels,
                                 int64_t rows, float* products,
                                 const Between& between) {
  const WinogradInputPlan& plan = task.plan;
  const bool is_half = task.g.out_depth - panel * kPanelWidth <= kLanes<float>;
  const auto multiply = is_half ? &MultiplyTiles<1> : &MultiplyTiles<2>;
  tiles += first / kInBlock * plan.panel_rows() * kInBlock;
  for (int64_t row = 0; row < rows; row += kTileRows) {
    between();
    multiply(plan, tiles + row * kInBlock, filters, channels, first == 0,
             products + row * kPanelWidth);
  }
}

inline int64_t EndOfInner(const WinogradInputPlan& plan, int64_t first) {
  const int64_t end = first + kInnerChannels;
  return end < plan.in_depth ? end : plan.in_depth;
}

// All of one plane.
template <typename Between>
inline void MultiplyPlaneOfTiles(const WinogradInputTask& task,
                                 const float* tiles, const float* filters,
                                 int64_t rows, float* products,
                                 const Between& between) {
  const WinogradInputPlan& plan = task.plan;
  for (int64_t panel = 0; panel < plan.out_panels; ++panel) {
    for (int64_t first = 0; first < plan.in_depth; first += kInnerChannels) {
      const int64_t channels = EndOfInner(plan, first) - first;
      MultiplyPanelOfTiles(task, tiles, filters, panel, first, channels, rows,
                           products, between);
      filters += channels * kPanelWidth;
    }
    products += plan.panel_rows() * kPanelWidth;
  }
}

// Where the products of a tile come from and its pixels go to.
struct TileProducts {
  // The tile's row in the first panel of every plane; afterwards the next
  // tile's.
  const float** planes;
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
#pragma GCC unroll 6
  for (int row = Rows::kBegin; row < Rows::kEnd; ++row) {
#pragma GCC unroll 6
    for (int col = Cols::kBegin; col < Cols::kEnd; ++col) {
      tile.planes[row * kPoints + col] += kPanelWidth;
    }
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

// Calls visit(tile) for the tiles of a block.
template <typename Visit>
inline void ForEachTile(const WinogradInputTask& task, int64_t first,
                        int64_t end, const Visit& visit) {
  TileOfMap tile = FindTile(task.g, task.plan, first);
  for (int64_t index = first; index < end; ++index) {
    visit(tile);
    NextTile(task.g, &tile);
  }
}

// Transforms the tiles [begin, end) of dY to their places in the panels of a
// block that begins with the tile `first`.
inline void TransformTilesOfBlock(const WinogradInputTask& task, int64_t first,
                                  int64_t begin, int64_t end,
                                  float* transformed) {
  const WinogradInputPlan& plan = task.plan;
  int64_t places[kPlanes];
  PlacesOfTile(plan, first, begin, places);
  const float* pixels[kPlanes];
  float* planes[kPlanes];
  for (int plane = 0; plane < kPlanes; ++plane) {
    planes[plane] =
        transformed + plane * plan.in_plane() + places[plane] * kInBlock;
  }
  const TilePanels in{pixels, planes, task.g.in_depth, kInBlock,
                      plan.panel_rows() * kInBlock};
  ForEachTile(task, begin, end, [&](const TileOfMap& tile) {
    ListInPixels(task.g, task.out_backprop, task.zeros, tile, pixels);
    for (int group = 0; group < kGroups; ++group) {
      TileFunctions<InTransform>::kOf[group][tile.rows - 1][tile.cols - 1](in);
    }
  });
}

// Makes of a block's products the pixels of dX that the tiles [first, end)
// have, of `channels` channels from `first_channel` on.
inline void WritePixelsOfBlock(const WinogradInputTask& task, int64_t first,
                               int64_t end, int64_t first_channel,
                               int64_t channels, const float* products) {
  const WinogradInputPlan& plan = task.plan;
  float* pixels[kPlanes];
  const float* planes[kPlanes];
  for (int plane = 0; plane < kPlanes; ++plane) {
    planes[plane] = products + plane * plan.out_plane();
  }
  const TileProducts out{planes, pixels, channels,
                         plan.panel_rows() * kPanelWidth};
  ForEachTile(task, first, end, [&](const TileOfMap& tile) {
    ListOutPixels(task.g, task.input_backprop + first_channel, tile, pixels);
    kWriteTile[tile.rows - 1][tile.cols - 1](out);
  });
}

// The kernels' `compute_block`.
void ComputeBlock(const WinogradInputTask& task, int64_t block,
                  float* transformed, float* products) {
  const ConvGeometry& g = task.g;
  const WinogradInputPlan& plan = task.plan;
  const int64_t first = block * plan.block_tiles;
  const int64_t end = EndOfBlock(plan, block);
  TransformTilesOfBlock(task, first, first, end, transformed);

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
  int64_t rows[kPlanes];
  PlacesOfTile(plan, first, end, rows);
  for (int plane = 0; plane < kPlanes; ++plane) {
    MultiplyPlaneOfTiles(task, transformed + plane * plan.in_plane(),
                         task.transformed_filters + plane * plan.filter_plane(),
                         rows[plane], products + plane * plan.out_plane(),
                         [&] { pixels.Step(); });
  }
  WritePixelsOfBlock(task, first, end, 0, g.out_depth, products);
}

// The kernels' `transform_tiles`.
void TransformTilesOfAll(const WinogradInputTask& task, int64_t begin,
                         int64_t end, float* transformed) {
  TransformTilesOfBlock(task, 0, begin, end, transformed);
}

// The kernels' `compute_panel`.
void ComputePanel(const WinogradInputTask& task, int64_t panel,
                  const float* transformed, float* filters, float* products) {
  const WinogradInputPlan& plan = task.plan;
  int64_t rows[kPlanes];
  PlacesOfTile(plan, 0, plan.tiles, rows);
  for (int64_t first = 0; first < plan.in_depth; first += kInnerChannels) {
    const int64_t end = EndOfInner(plan, first);
    TransformFiltersTo(task, panel, first, end, filters);
    for (int plane = 0; plane < kPlanes; ++plane) {
      MultiplyPanelOfTiles(task, transformed + plane * plan.in_plane(),
                           filters + plane * plan.filter_plane(), panel, first,
                           end - first, rows[plane],
                           products + plane * plan.out_plane(), [] {});
    }
  }
  const int64_t first_channel = panel * kPanelWidth;
  const int64_t left = task.g.out_depth - first_channel;
  WritePixelsOfBlock(task, 0, plan.tiles, first_channel,
                     left < kPanelWidth ? left : kPanelWidth, products);
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_INPUT_BLOCKS_INL_H_
