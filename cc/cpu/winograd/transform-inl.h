// Tiles of X and dY transformed in two dimensions, and written to panels.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_TRANSFORM_INL_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_TRANSFORM_INL_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/common/target.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/winograd/kernels.h"
#include "cc/cpu/winograd/plan.h"
#include "cc/cpu/winograd/points-inl.h"
#include "cc/cpu/winograd/tiles-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// Where the channels of a tile come from and go to.
struct TilePanels {
  // Of each pixel, row by row, kPoints a row.
  const float* const* pixels;
  // The tile's row in the first panel of every plane; afterwards the next
  // tile's.
  float** planes;
  int64_t channels;
  // Channels next to each other in a panel, and from one panel to the next.
  int64_t width;
  int64_t stride;
  // Factor of the pixels, of a scaled transform.
  float scale = 1;
};

// The rows of points of a group that a tile of Rows has.
template <typename Rows, int kGroup>
struct RowsOfGroup {
  static constexpr int kFirst = kGroup * kRowsOfGroup;
  static constexpr int kBegin = kFirst > Rows::kBegin ? kFirst : Rows::kBegin;
  static constexpr int kEnd =
      kFirst + kRowsOfGroup < Rows::kEnd ? kFirst + kRowsOfGroup : Rows::kEnd;
};

template <typename Rows, typename Cols, int kGroup, bool kWhole, bool kScaled>
inline __attribute__((always_inline)) void TransformVector(
    const TilePanels& tile, int64_t channel, int64_t place) {
  constexpr int kWidth = kLanes<float>;
  using Group = RowsOfGroup<Rows, kGroup>;
  Vector<float> half[kRowsOfGroup][Cols::kInputs];
#pragma GCC unroll 6
  for (int col = 0; col < Cols::kInputs; ++col) {
    Vector<float> in[Rows::kInputs];
#pragma GCC unroll 6
    for (int row = 0; row < Rows::kInputs; ++row) {
      const float* pixel = tile.pixels[row * kPoints + col] + channel;
      if constexpr (kWhole) {
        in[row] = LoadVector(pixel);
      } else {
        float values[kWidth] = {};
        for (int64_t c = 0; channel + c < tile.channels; ++c) {
          values[c] = pixel[c];
        }
        in[row] = LoadVector(values);
      }
      if constexpr (kScaled) in[row] = tile.scale * in[row];
    }
    Vector<float> at[kPoints];
    Rows::Apply(in, at);
#pragma GCC unroll 2
    for (int point = Group::kBegin; point < Group::kEnd; ++point) {
      half[point - Group::kFirst][col] = at[point];
    }
  }
#pragma GCC unroll 2
  for (int row = Group::kBegin; row < Group::kEnd; ++row) {
    Vector<float> at[kPoints];
    Cols::Apply(half[row - Group::kFirst], at);
#pragma GCC unroll 6
    for (int col = Cols::kBegin; col < Cols::kEnd; ++col) {
      StoreVector(at[col], tile.planes[row * kPoints + col] + place);
    }
  }
}

// All channels of a tile, and zeros up to the next whole vector, at the points
// of a group.
template <typename Rows, typename Cols, int kGroup, bool kScaled = false>
__attribute__((noinline)) void TransformTile(const TilePanels& tile) {
  constexpr int kWidth = kLanes<float>;
  using Group = RowsOfGroup<Rows, kGroup>;
  if constexpr (Group::kBegin < Group::kEnd) {
    int64_t panel = 0;
    int64_t within = 0;
    int64_t channel = 0;
    for (; channel + kWidth <= tile.channels; channel += kWidth) {
      TransformVector<Rows, Cols, kGroup, true, kScaled>(tile, channel,
                                                         panel + within);
      within += kWidth;
      if (within == tile.width) {
        within = 0;
        panel += tile.stride;
      }
    }
    if (channel < tile.channels) {
      TransformVector<Rows, Cols, kGroup, false, kScaled>(tile, channel,
                                                          panel + within);
    }
#pragma GCC unroll 2
    for (int row = Group::kBegin; row < Group::kEnd; ++row) {
#pragma GCC unroll 6
      for (int col = Cols::kBegin; col < Cols::kEnd; ++col) {
        tile.planes[row * kPoints + col] += tile.width;
      }
    }
  }
}

using TileFunction = void (*)(const TilePanels&);

// For each group and tiles of [rows - 1][cols - 1] pixels of dY.
template <template <int> class Transform>
struct TileFunctions {
#define TF_APPROXGRAD_OF_ROWS(GROUP, ROWS)                    \
  {                                                           \
    &TransformTile<Transform<ROWS>, Transform<1>, GROUP>,     \
        &TransformTile<Transform<ROWS>, Transform<2>, GROUP>, \
        &TransformTile<Transform<ROWS>, Transform<3>, GROUP>, \
        &TransformTile<Transform<ROWS>, Transform<4>, GROUP>, \
  }
#define TF_APPROXGRAD_OF_GROUP(GROUP)                                     \
  {                                                                       \
    TF_APPROXGRAD_OF_ROWS(GROUP, 1), TF_APPROXGRAD_OF_ROWS(GROUP, 2),     \
        TF_APPROXGRAD_OF_ROWS(GROUP, 3), TF_APPROXGRAD_OF_ROWS(GROUP, 4), \
  }
  static constexpr TileFunction kOf[kGroups][kTilePixels][kTilePixels] = {
      TF_APPROXGRAD_OF_GROUP(0), TF_APPROXGRAD_OF_GROUP(1),
      TF_APPROXGRAD_OF_GROUP(2)};
#undef TF_APPROXGRAD_OF_GROUP
#undef TF_APPROXGRAD_OF_ROWS
};

// Those of a drawn tile's dY: a whole one, with its weight.
using WholeOutTransform = OutTransform<kTilePixels>;
constexpr TileFunction kOfDrawnOut[kGroups] = {
    &TransformTile<WholeOutTransform, WholeOutTransform, 0, true>,
    &TransformTile<WholeOutTransform, WholeOutTransform, 1, true>,
    &TransformTile<WholeOutTransform, WholeOutTransform, 2, true>};

// The kernels' `transform`.
void TransformTiles(const WinogradTask& task, int64_t block, int64_t begin,
                    int64_t end, float* panels) {
  const ConvGeometry& g = task.g;
  const WinogradPlan& plan = task.plan;
  float* in_panels = panels;
  float* out_panels = panels + kPlanes * plan.in_plane();
  const float* in_pixels[kPlanes];
  const float* out_pixels[kPlanes];
  float* in_planes[kPlanes];
  float* out_planes[kPlanes];
  const TilePanels in{in_pixels, in_planes, g.in_depth, kInBlock,
                      plan.block_tiles * kInBlock};
  TilePanels out{out_pixels, out_planes, g.out_depth, plan.panel_width,
                 plan.block_tiles * plan.panel_width};
  int64_t places[kPlanes];
  PlacesOfTile(plan, block * plan.block_tiles, begin, places);
  for (int plane = 0; plane < kPlanes; ++plane) {
    in_planes[plane] =
        in_panels + plane * plan.in_plane() + places[plane] * kInBlock;
    out_planes[plane] = out_panels + plane * plan.out_plane() +
                        places[plane] * plan.panel_width;
  }
  const bool is_drawn = task.drawn != nullptr;
  TileOfMap tile = FindTile(g, plan.map, is_drawn ? 0 : begin);
  for (int64_t index = begin; index < end; ++index) {
    if (is_drawn) {
      const int64_t drawn = task.drawn->drawn[index];
      tile = FindTile(g, plan.map, drawn);
      tile.rows = tile.cols = kTilePixels;
      out.scale =
          static_cast<float>(task.drawn->weight / task.drawn->size[drawn]);
      ListWholeTile(g, task.out_backprop, task.zeros, tile, out_pixels);
    } else {
      ListOutPixels(g, task.out_backprop, tile, out_pixels);
    }
    ListInPixels(g, task.input, task.zeros, tile, in_pixels);
    for (int group = 0; group < kGroups; ++group) {
      TileFunctions<InTransform>::kOf[group][tile.rows - 1][tile.cols - 1](in);
    }
    for (int group = 0; group < kGroups; ++group) {
      const TileFunction transform =
          is_drawn ? kOfDrawnOut[group]
                   : TileFunctions<OutTransform>::kOf[group][tile.rows - 1]
                                                     [tile.cols - 1];
      transform(out);
    }
    if (!is_drawn) NextTile(g, &tile);
  }
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_TRANSFORM_INL_H_
