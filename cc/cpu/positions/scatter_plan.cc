#include "cc/cpu/positions/scatter_plan.h"

#include <algorithm>

#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// An image of few channels may fill a tile by itself up to this.
constexpr int64_t kLargestPaddedImageBytes = 1024 * 1024;

// Offsets within a tile are 32-bit.
constexpr double kMostOffsets = 1 << 30;

// The share of the L1 cache that a run may take.
constexpr double kLevel1Share = 0.85;
// Images of a run from which chunks of several vectors pay: each loads its
// slice of the filter once.
constexpr int64_t kEnoughImages = 4;

// The list of a run's patches, beside which its slice of the filter shall stay
// in the L2 cache.
constexpr double kListBytes = 256 * 1024;

// Units of a worker, so that the last to finish isn't waited for long.
constexpr int64_t kUnitsOfWorker = 4;

// Whether some position of one axis has all its taps outside the input.
bool AxisIsBlind(int64_t out_size, int64_t stride, int64_t padding,
                 int64_t taps, int64_t dilation, int64_t in_size) {
  for (int64_t out = 0; out < out_size; ++out) {
    // The first tap that isn't before the input.
    const int64_t origin = out * stride - padding;
    const int64_t tap = origin < 0 ? DivideUp(-origin, dilation) : 0;
    if (tap >= taps || origin + tap * dilation >= in_size) return true;
  }
  return false;
}

bool IsBlind(const ConvGeometry& g) {
  return AxisIsBlind(g.out_rows, g.stride_rows, g.pad_top, g.filter_rows,
                     g.dilation_rows, g.in_rows) ||
         AxisIsBlind(g.out_cols, g.stride_cols, g.pad_left, g.filter_cols,
                     g.dilation_cols, g.in_cols);
}

}  // namespace

AccumulationPlan PlanScatter(const ConvGeometry& g, int64_t k,
                             int64_t stored_size, int64_t accumulator_size,
                             int64_t vector_bytes, int64_t workers,
                             const CacheSizes& caches) {
  AccumulationPlan plan;
  const int64_t lanes = vector_bytes / accumulator_size;
  plan.group = RoundUp(g.out_depth, kGroupStep);
  plan.clipped = IsMostlyOutside(g);
  plan.streams_result = g.input_size() * stored_size > caches.level2;
  plan.run_images = 1;
  PlanImage(g, &plan);
  int vectors = ChunkVectors(g, lanes, vector_bytes);
  const double budget = kLevel1Share * static_cast<double>(caches.level1);
  const auto images = [&] {
    const double pixel_bytes = static_cast<double>(vectors * vector_bytes);
    return static_cast<int64_t>(
        budget / (static_cast<double>(plan.image_pixels) * pixel_bytes));
  };
  while (vectors > 1 && images() < kEnoughImages) vectors /= 2;
  // Where no image fits, a piece of dX may as well be long.
  if (images() == 0) vectors = ChunkVectors(g, lanes, vector_bytes);
  SetChunk(g, vectors, lanes, &plan);
  const double offsets = static_cast<double>(plan.image_pixels) * plan.chunk;
  const bool is_padded = g.in_depth < lanes;
  if (IsBlind(g) || offsets > kMostOffsets ||
      (is_padded && offsets * accumulator_size > kLargestPaddedImageBytes)) {
    plan.clipped = false;
    plan.chunk = g.in_depth;
    plan.chunks = 1;
    plan.row_pixels = g.in_cols;
    plan.image_pixels = g.in_rows * g.in_cols;
    plan.lead_pixels = 0;
  } else {
    plan.path = AccumulationPath::kTile;
    const double image_list =
        2.0 * accumulator_size * static_cast<double>(g.out_depth) * k;
    const int64_t most =
        std::min({images(), static_cast<int64_t>(kListBytes / image_list),
                  DivideUp(g.batch * plan.chunks, kUnitsOfWorker * workers)});
    plan.run_images = std::clamp<int64_t>(most, 1, g.batch);
    if (plan.clipped) {
      plan.run_images =
          std::clamp<int64_t>(kMostClippedPatches / k, 1, plan.run_images);
    }
  }
  plan.runs = DivideUp(g.batch, plan.run_images);
  plan.run_images = DivideUp(g.batch, plan.runs);
  plan.tile_images = plan.run_images;
  plan.tiles = plan.runs = DivideUp(g.batch, plan.run_images);
  plan.units = plan.chunks * plan.runs;
  plan.tile_size = AlignedSize(
      (plan.lead_pixels + plan.run_images * plan.image_pixels) * plan.chunk);
  if (plan.clipped) {
    plan.class_counts_size = g.out_depth * plan.runs * kMostClippedPositions;
  }
  return plan;
}

}  // namespace tf_approxgrad
