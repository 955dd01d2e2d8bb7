#include "cc/cpu/winograd/plan.h"

#include <algorithm>
#include <cstdlib>

#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// Panels that are shared stay in the last cache until they are multiplied.
constexpr int64_t kSharedPanelBytes = 24 << 20;

// Tiles of a piece: its sums cost as much as some 30 tiles when they are added.
constexpr int64_t kPieceTiles = 512;
constexpr int64_t kMostPieces = 32;

int64_t env(const char* n, int64_t d) {
  const char* v = getenv(n);
  return v ? atoll(v) : d;
}

}  // namespace

bool WinogradApplies(const ConvGeometry& g) {
  return g.layout == Layout::kNHWC && g.filter_rows == 3 &&
         g.filter_cols == 3 && g.stride_rows == 1 && g.stride_cols == 1 &&
         g.dilation_rows == 1 && g.dilation_cols == 1;
}

WinogradPlan PlanWinograd(const ConvGeometry& g, int64_t panel_width,
                          const CacheSizes& caches) {
  WinogradPlan plan;
  plan.tile_rows = DivideUp(g.out_rows, kTilePixels);
  plan.tile_cols = DivideUp(g.out_cols, kTilePixels);
  plan.tiles = g.batch * plan.tile_rows * plan.tile_cols;
  plan.in_blocks = DivideUp(g.in_depth, kInBlock);
  plan.panel_width = panel_width;
  plan.out_panels = DivideUp(g.out_depth, panel_width);

  const int64_t in = plan.in_blocks * kInBlock;
  const int64_t out = plan.out_panels * panel_width;
  const int64_t tile_bytes = kPlanes * (in + out) * sizeof(float);
  const int64_t sums_bytes = kPlanes * in * out * sizeof(float);
  plan.shares_panels =
      env("WB", sums_bytes > 8 * caches.level2 ||
                    (plan.tiles < 2 * kPieceTiles &&
                     plan.tiles * tile_bytes <= kSharedPanelBytes));
  if (plan.shares_panels) {
    const int64_t most =
        std::max<int64_t>(env("WSP", kSharedPanelBytes) / tile_bytes, 1);
    plan.blocks = DivideUp(plan.tiles, most);
    plan.block_tiles = DivideUp(plan.tiles, plan.blocks);
    plan.blocks = DivideUp(plan.tiles, plan.block_tiles);
    // A unit's sums stay in L2 until they are transformed.
    plan.chunk_in_blocks = std::min<int64_t>(plan.in_blocks, env("WCI", 2));
    const int64_t panel_bytes =
        kPlanes * plan.chunk_in_blocks * kInBlock * panel_width * sizeof(float);
    plan.chunk_out_panels = std::clamp<int64_t>(
        caches.level2 * 5 / 8 / panel_bytes, 1, plan.out_panels);
    plan.in_chunks = DivideUp(plan.in_blocks, plan.chunk_in_blocks);
    plan.out_chunks = DivideUp(plan.out_panels, plan.chunk_out_panels);
    return plan;
  }
  // Reading and writing the sums once a block must cost no more than making
  // panels.
  const int64_t wanted =
      env("WK", std::clamp<int64_t>(in * out / (in + out), 32, 128));
  plan.block_tiles = std::min(wanted, plan.tiles);
  plan.blocks = DivideUp(plan.tiles, plan.block_tiles);
  const int64_t most =
      std::clamp<int64_t>(plan.tiles / env("WPT", kPieceTiles), 1, kMostPieces);
  plan.piece_blocks = DivideUp(plan.blocks, most);
  plan.pieces = DivideUp(plan.blocks, plan.piece_blocks);
  return plan;
}

}  // namespace tf_approxgrad
