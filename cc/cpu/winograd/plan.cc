#include "cc/cpu/winograd/plan.h"

#include <algorithm>

#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// Sums of all pieces, in bytes; the most pieces, the fewest for which this way
// is taken, and the fewest tiles of one.
constexpr int64_t kPieceBytes = 10 << 20;
constexpr int64_t kMostPieces = 16;
constexpr int64_t kFewestPieces = 4;
constexpr int64_t kPieceTiles = 128;

// Tiles of a piece's block.
constexpr int64_t kFewestTiles = 32;
constexpr int64_t kMostTiles = 64;

// Shared panels should stay in the last cache until they are multiplied, but
// hold enough tiles that reading and writing the sums, which don't, costs
// little.
constexpr int64_t kSharedPanelBytes = 5 << 20;
constexpr int64_t kFewestSharedTiles = 64;
// The most tiles that become a single block because their panels are smaller
// than the sums, which then need not be kept.
constexpr int64_t kMostSharedTiles = 128;

// The most input and output channels of a chunk, and the fewest chunks.
constexpr int64_t kChunkChannels = 128;
constexpr int64_t kFewestChunks = 8;

// Tiles that are multiplied in one turn of the loop.
constexpr int64_t kTilesAtOnce = 4;

// Tiles of a block of the input gradient: its panels should stay near L2, but
// all transformed filters pass by once a block, which must cost no more than
// the panels do.
constexpr int64_t kInputPanelBytes = 3 << 20;
constexpr int64_t kFewestInputTiles = 48;
constexpr int64_t kMostInputTiles = 128;
// Tiles whose panels all workers can share.
constexpr int64_t kMostTilesByPanels = 512;

// A transformed vector costs about as much as this many multiply-adds.
constexpr int64_t kTransformWork = 64;

void CutIntoChunks(WinogradPlan* plan) {
  plan->chunk_in_blocks = std::min(plan->in_blocks, kChunkChannels / kInBlock);
  plan->chunk_out_panels =
      std::min(plan->out_panels,
               std::max<int64_t>(kChunkChannels / plan->panel_width, 1));
  for (;;) {
    plan->in_chunks = DivideUp(plan->in_blocks, plan->chunk_in_blocks);
    plan->out_chunks = DivideUp(plan->out_panels, plan->chunk_out_panels);
    if (plan->chunks() >= kFewestChunks) return;
    const bool has_wide_in = plan->chunk_in_blocks * kInBlock >
                             plan->chunk_out_panels * plan->panel_width;
    if (plan->chunk_in_blocks > 1 &&
        (has_wide_in || plan->chunk_out_panels == 1)) {
      plan->chunk_in_blocks = DivideUp(plan->chunk_in_blocks, 2);
    } else if (plan->chunk_out_panels > 1) {
      plan->chunk_out_panels = DivideUp(plan->chunk_out_panels, 2);
    } else {
      return;
    }
  }
}

}  // namespace

bool WinogradApplies(const ConvGeometry& g) {
  return g.layout == Layout::kNHWC && g.filter_rows == 3 &&
         g.filter_cols == 3 && g.stride_rows == 1 && g.stride_cols == 1 &&
         g.dilation_rows == 1 && g.dilation_cols == 1;
}

WinogradTiles CutIntoTiles(const ConvGeometry& g) {
  WinogradTiles tiles;
  tiles.tile_rows = DivideUp(g.out_rows, kTilePixels);
  tiles.tile_cols = DivideUp(g.out_cols, kTilePixels);
  tiles.tiles = g.batch * tiles.tile_rows * tiles.tile_cols;
  tiles.last_rows =
      static_cast<int>(g.out_rows - (tiles.tile_rows - 1) * kTilePixels);
  tiles.last_cols =
      static_cast<int>(g.out_cols - (tiles.tile_cols - 1) * kTilePixels);
  return tiles;
}

double WinogradWork(const ConvGeometry& g, int64_t tiles) {
  const double channels =
      static_cast<double>(g.in_depth) * static_cast<double>(g.out_depth) +
      static_cast<double>(kTransformWork) * (g.in_depth + g.out_depth);
  return static_cast<double>(tiles) * kPlanes * channels;
}

WinogradPlan PlanWinograd(const ConvGeometry& g, int64_t panel_width,
                          int64_t drawn_tiles) {
  WinogradPlan plan;
  plan.map = CutIntoTiles(g);
  static_cast<WinogradTiles&>(plan) = plan.map;
  if (drawn_tiles != kAllTiles) {
    plan.tile_rows = plan.tile_cols = 1;
    plan.tiles = drawn_tiles;
    plan.last_rows = plan.last_cols = kTilePixels;
  }
  plan.in_blocks = DivideUp(g.in_depth, kInBlock);
  plan.panel_width = panel_width;
  plan.out_panels = DivideUp(g.out_depth, panel_width);

  const int64_t in = plan.in_blocks * kInBlock;
  const int64_t out = plan.out_panels * panel_width;
  const int64_t element = sizeof(float);
  const int64_t pieces =
      std::min({kMostPieces, plan.tiles / kPieceTiles,
                kPieceBytes / (kPlanes * in * out * element)});
  plan.shares_panels = pieces < kFewestPieces;
  plan.pieces = plan.shares_panels ? 1 : pieces;
  const int64_t piece_tiles = DivideUp(plan.tiles, plan.pieces);
  int64_t wanted;
  if (plan.shares_panels) {
    CutIntoChunks(&plan);
    wanted = std::max(kSharedPanelBytes / (kPlanes * (in + out) * element),
                      kFewestSharedTiles);
    if (plan.tiles <= kMostSharedTiles && plan.tiles * (in + out) <= in * out) {
      wanted = plan.tiles;
    }
  } else {
    // The sums are read and written once a block, which must cost no more than
    // making panels.
    wanted = std::clamp(in * out / (in + out), kFewestTiles, kMostTiles);
  }
  plan.piece_blocks = DivideUp(piece_tiles, wanted);
  plan.block_tiles =
      RoundUp(DivideUp(piece_tiles, plan.piece_blocks), kTilesAtOnce);
  plan.blocks = DivideUp(plan.tiles, plan.block_tiles);
  plan.piece_blocks = DivideUp(plan.blocks, plan.pieces);
  plan.pieces = DivideUp(plan.blocks, plan.piece_blocks);
  return plan;
}

WinogradInputPlan PlanWinogradInput(const ConvGeometry& g, int64_t panel_width,
                                    int64_t tile_rows, int64_t workers) {
  WinogradInputPlan plan{CutIntoTiles(g)};
  plan.in_depth = g.in_depth;
  plan.in_blocks = DivideUp(g.in_depth, kInBlock);
  plan.panel_width = panel_width;
  plan.out_panels = DivideUp(g.out_depth, panel_width);
  const int64_t tile_bytes =
      kPlanes * (plan.in_blocks * kInBlock + plan.out_panels * panel_width) *
      static_cast<int64_t>(sizeof(float));
  const int64_t wanted = std::clamp(
      std::max(kInputPanelBytes / tile_bytes,
               g.in_depth * g.out_depth / (g.in_depth + g.out_depth)),
      kFewestInputTiles, kMostInputTiles);
  plan.by_panels = plan.tiles <= std::min(g.out_depth, kMostTilesByPanels) &&
                   workers <= plan.out_panels;
  if (plan.by_panels) {
    plan.block_tiles = plan.tiles;
    plan.blocks = 1;
    return plan;
  }
  // Every worker should have a block, and as many as the others; of whole
  // product tiles, if it has several.
  const int64_t rounds = DivideUp(plan.tiles, wanted * workers);
  plan.block_tiles =
      std::max(DivideUp(plan.tiles, rounds * workers), tile_rows);
  if (rounds > 1) plan.block_tiles -= plan.block_tiles % tile_rows;
  plan.blocks = DivideUp(plan.tiles, plan.block_tiles);
  return plan;
}

}  // namespace tf_approxgrad
