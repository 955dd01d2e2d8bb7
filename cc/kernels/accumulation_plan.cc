#include "cc/kernels/accumulation_plan.h"

#include <algorithm>

namespace tf_approxgrad {
namespace {

// A tile, and the sums that it meets, share an L2 cache of 1 MB.
constexpr int64_t kTileBytes = 384 * 1024;
constexpr int64_t kLargestImageBytes = 1024 * 1024;

// Uses of a pixel of X from which copying it into a tile pays.
constexpr double kTileReuse = 2.0;

// Share of taps inside the input below which adding them alone pays.
constexpr double kClippedShare = 0.75;

// The masks of a border patch have a bit for each tap of an axis.
constexpr int64_t kLargestMaskedFilter = 64;

// Offsets within a tile are 32-bit.
constexpr double kMostOffsets = 1 << 30;

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

int ChunkVectors(const ConvGeometry& g, int64_t lanes, int64_t vector_bytes) {
  int vectors = 1;
  if (g.taps() == 1) {
    // One tap leaves registers for independent sums of up to 8 vectors.
    while (vectors < 8 && vectors * lanes < g.in_depth) vectors *= 2;
  } else if (vector_bytes == 64 && g.in_depth > lanes) {
    // 3x3 taps of 2 vectors need 18 registers, which only AVX-512 has.
    vectors = 2;
  }
  return vectors;
}

// How many of one axis' taps lie inside the input, over all output positions.
int64_t InsideTapsOfAxis(int64_t out_size, int64_t stride, int64_t padding,
                         int64_t taps, int64_t dilation, int64_t in_size) {
  int64_t inside = 0;
  for (int64_t out = 0; out < out_size; ++out) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t index = out * stride - padding + tap * dilation;
      inside += index >= 0 && index < in_size;
    }
  }
  return inside;
}

bool ShouldClip(const ConvGeometry& g) {
  if (g.positions() > kMostClippedPositions) return false;
  const int64_t inside =
      InsideTapsOfAxis(g.out_rows, g.stride_rows, g.pad_top, g.filter_rows,
                       g.dilation_rows, g.in_rows) *
      InsideTapsOfAxis(g.out_cols, g.stride_cols, g.pad_left, g.filter_cols,
                       g.dilation_cols, g.in_cols);
  return inside < kClippedShare * g.positions() * g.taps();
}

}  // namespace

AccumulationPlan PlanAccumulation(const ConvGeometry& g, int64_t k,
                                  int64_t stored_size, int64_t accumulator_size,
                                  int64_t vector_bytes) {
  AccumulationPlan plan;
  const int64_t lanes = vector_bytes / accumulator_size;
  plan.clipped = ShouldClip(g);
  plan.chunk_vectors = ChunkVectors(g, lanes, vector_bytes);
  plan.chunk = plan.chunk_vectors * lanes;
  plan.chunks = CeilDivide(g.in_depth, plan.chunk);
  if (plan.clipped) {
    plan.tile_rows = g.in_rows;
    plan.tile_cols = g.in_cols;
  } else {
    plan.tile_rows = (g.out_rows - 1) * g.stride_rows +
                     (g.filter_rows - 1) * g.dilation_rows + 1;
    plan.tile_cols = (g.out_cols - 1) * g.stride_cols +
                     (g.filter_cols - 1) * g.dilation_cols + 1;
    plan.pad_top = g.pad_top;
    plan.pad_left = g.pad_left;
  }
  const double pixels = static_cast<double>(plan.tile_rows) * plan.tile_cols;
  const double uses = static_cast<double>(g.out_depth) * k * g.taps();
  const double pixel_bytes = static_cast<double>(plan.chunk) * accumulator_size;

  const bool can_read_directly =
      g.layout == Layout::kNHWC && stored_size == accumulator_size &&
      g.in_depth % plan.chunk == 0 && g.filter_rows <= kLargestMaskedFilter &&
      g.filter_cols <= kLargestMaskedFilter &&
      static_cast<double>(g.in_rows + g.pad_top) * g.in_cols * g.in_depth <=
          kMostOffsets;
  const bool fits_tile = pixels * pixel_bytes <= kLargestImageBytes;
  double image_bytes = 0;
  if (fits_tile && (uses >= kTileReuse * pixels || !can_read_directly)) {
    plan.path = AccumulationPath::kTile;
    image_bytes = pixels * pixel_bytes;
  } else if (can_read_directly) {
    plan.path = AccumulationPath::kDirect;
    image_bytes = std::max(std::min(pixels, uses) * pixel_bytes,
                           static_cast<double>(kTileBytes) * g.in_rows *
                               g.in_cols * g.in_depth / kMostOffsets);
  } else {
    plan.path = AccumulationPath::kGeneral;
    plan.chunk = g.in_depth;
    plan.chunks = 1;
    image_bytes = kTileBytes;
  }
  plan.clipped = plan.clipped && plan.path == AccumulationPath::kTile;
  plan.tile_images = std::clamp<int64_t>(
      static_cast<int64_t>(kTileBytes / image_bytes), 1, g.batch);
  plan.tiles = CeilDivide(g.batch, plan.tile_images);
  plan.groups = CeilDivide(g.out_depth, kAccumulationGroup);
  plan.units = plan.chunks * plan.groups;

  const int64_t channel_sums = plan.chunk * g.taps();
  if (plan.path == AccumulationPath::kTile) {
    plan.tile_elements = AlignedSize(plan.tile_images * plan.tile_rows *
                                     plan.tile_cols * plan.chunk);
  }
  if (plan.clipped) {
    plan.class_counts_size = g.out_depth * plan.tiles * kMostClippedPositions;
  }
  plan.tile_size = plan.tile_elements;
  if (plan.path == AccumulationPath::kGeneral || plan.tiles > 1) {
    plan.sums_size = AlignedSize(plan.chunks * channel_sums * g.out_depth);
  } else {
    plan.tile_size += AlignedSize(channel_sums * kAccumulationGroup);
  }
  if (plan.clipped) {
    // The tile also serves to sort a channel's patches. With padding there can
    // be more positions than pixels.
    plan.tile_size =
        std::max(plan.tile_size, AlignedSize(2 * plan.tile_images * k));
  }
  return plan;
}

}  // namespace tf_approxgrad
