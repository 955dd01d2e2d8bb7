// How Winograd gradients are cut into tiles, panels and units of work.

#ifndef TF_APPROXGRAD_CC_CPU_WINOGRAD_PLAN_H_
#define TF_APPROXGRAD_CC_CPU_WINOGRAD_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "cc/common/geometry.h"

namespace tf_approxgrad {

// Pixels of a tile along an axis, of dY for filter gradients and of dX for
// input gradients; the points at which its polynomial is evaluated, which are
// as many as the pixels of the other map that it meets; and the planes of a
// tile in two dimensions.
constexpr int kTilePixels = 4;
constexpr int kPoints = 6;
constexpr int kPlanes = kPoints * kPoints;

// Rows of points that are transformed together: more would need more registers
// than there are.
constexpr int kRowsOfGroup = 2;
constexpr int kGroups = kPoints / kRowsOfGroup;

// Input channels that lie next to each other in a panel of X.
constexpr int kInBlock = 16;

// Channels of dY that are multiplied at a time for the input gradient: the
// filters of so many stay in L1 while all tiles pass by, and sums of so many
// round less.
constexpr int64_t kInnerChannels = 16 * kInBlock;

// Distances between planes are so much longer than need be. A tile is written
// to all planes at once, so they must not lie a power of two apart, or they
// meet in one set of L1.
constexpr int64_t kPlanePadding = 48;

// The tiles of all maps of a batch.
struct WinogradTiles {
  int64_t tile_rows = 0;
  int64_t tile_cols = 0;
  int64_t tiles = 0;
  // Pixels of the last tiles of a map.
  int last_rows = kTilePixels;
  int last_cols = kTilePixels;
};

// Of the filter gradient. Sizes are in elements. A panel holds the transformed
// tiles of a block, a row for each tile: X as [plane, in_blocks, tile,
// kInBlock], dY as [plane, out_panels, tile, panel_width].
struct WinogradPlan : WinogradTiles {
  // All tiles, where some are drawn. Each drawn tile is then a map of its own,
  // and whole.
  WinogradTiles map;
  int64_t in_blocks = 0;
  // Two vectors.
  int64_t panel_width = 0;
  int64_t out_panels = 0;

  // Tiles that are transformed, then multiplied, at a time.
  int64_t block_tiles = 0;
  int64_t blocks = 0;
  // Whether all workers transform a block together and share its panels, each
  // multiplying some of the channels. Otherwise a worker makes a whole piece of
  // the tiles by itself, with sums of its own.
  bool shares_panels = false;
  int64_t pieces = 1;
  int64_t piece_blocks = 0;
  // Channels of a unit, if panels are shared.
  int64_t chunk_in_blocks = 0;
  int64_t chunk_out_panels = 0;
  int64_t in_chunks = 1;
  int64_t out_chunks = 1;

  int64_t chunks() const { return in_chunks * out_chunks; }
  // Distances between planes.
  int64_t in_plane() const {
    return in_blocks * block_tiles * kInBlock + kPlanePadding;
  }
  int64_t out_plane() const {
    return out_panels * block_tiles * panel_width + kPlanePadding;
  }
  int64_t panels_size() const { return kPlanes * (in_plane() + out_plane()); }
  // Sums lie as [plane, out_panels, input channels, panel_width], of a unit if
  // panels are shared.
  int64_t sums_plane() const {
    return (shares_panels ? chunk_in_blocks * chunk_out_panels
                          : in_blocks * out_panels) *
               kInBlock * panel_width +
           kPlanePadding;
  }
  int64_t sums_size() const { return kPlanes * sums_plane(); }
};

// Of the input gradient, with the convolution's input and output changed round:
// dY is what tiles are made of, and dX what comes of them. A panel holds the
// transformed tiles of a block: dY as [plane, in_blocks, tile, kInBlock], the
// products as [plane, out_panels, tile, panel_width]. The transformed filters
// are [plane, out_panels, channels of dY, panel_width].
//
// Few tiles of many channels have more filters than tiles. There a panel of
// dX's channels is a unit of work, and takes all tiles, which are a single
// block: only kInnerChannels of one panel's filters are transformed at a time,
// for itself, and stay in L2 until they are multiplied.
struct WinogradInputPlan : WinogradTiles {
  int64_t in_depth = 0;
  int64_t in_blocks = 0;
  int64_t panel_width = 0;
  int64_t out_panels = 0;
  // Tiles of a unit of work.
  int64_t block_tiles = 0;
  int64_t blocks = 0;
  bool by_panels = false;
  // From a worker's block to that which is probably its next.
  int64_t blocks_ahead = 1;

  // Rows of a panel: whole product tiles. Some rows of all panels are read
  // together, which must not meet in the same sets of L1, as those of panels of
  // 48 or 96 rows do.
  int64_t panel_rows() const { return (block_tiles + 11) / 12 * 12 + 6; }
  int64_t in_plane() const {
    return in_blocks * panel_rows() * kInBlock + kPlanePadding;
  }
  int64_t out_plane() const {
    return (by_panels ? 1 : out_panels) * panel_rows() * panel_width +
           kPlanePadding;
  }
  int64_t in_size() const { return kPlanes * in_plane(); }
  int64_t out_size() const { return kPlanes * out_plane(); }
  int64_t filter_plane() const {
    const int64_t channels =
        by_panels ? std::min(in_depth, kInnerChannels) : out_panels * in_depth;
    return channels * panel_width + kPlanePadding;
  }
  int64_t filters_size() const { return kPlanes * filter_plane(); }
};

// Whether the kernels compute the gradients of this convolution: 3x3, stride 1,
// dilation 1, NHWC.
bool WinogradApplies(const ConvGeometry& geometry);

// The tiles of the convolution's output.
WinogradTiles CutIntoTiles(const ConvGeometry& geometry);

// Of either gradient by a number of tiles, for UsefulWorkers.
double WinogradWork(const ConvGeometry& geometry, int64_t tiles);

constexpr int64_t kAllTiles = -1;

// The plan depends on the sizes alone, not on the number of threads, so that
// neither do the sums. All sizes must be positive, and so must be the number of
// drawn tiles.
WinogradPlan PlanWinograd(const ConvGeometry& geometry, int64_t panel_width,
                          int64_t drawn_tiles = kAllTiles);

// Of a convolution whose input is dY, with products of `tile_rows` tiles by a
// panel in registers. Blocks may be smaller for more workers, which changes no
// result.
WinogradInputPlan PlanWinogradInput(const ConvGeometry& geometry,
                                    int64_t panel_width, int64_t tile_rows,
                                    int64_t workers);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_WINOGRAD_PLAN_H_
