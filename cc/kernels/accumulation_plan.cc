#include "cc/kernels/accumulation_plan.h"

#include <algorithm>

namespace tf_approxgrad {
namespace {

// A tile's part of X and the sums that it meets share an L2 cache of 1 MB.
constexpr int64_t kTileBytes = 256 * 1024;
constexpr int64_t kLargestTileBytes = 1024 * 1024;

// Uses of a pixel of X from which copying it into a tile pays.
constexpr double kPackedReuse = 2.0;

// The masks of a border patch have a bit for each tap of an axis.
constexpr int64_t kLargestMaskedFilter = 64;

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

}  // namespace

AccumulationPlan PlanAccumulation(const ConvGeometry& g, int64_t k,
                                  int64_t stored_size, int64_t accumulator_size,
                                  int64_t vector_bytes) {
  AccumulationPlan plan;
  const int64_t lanes = vector_bytes / accumulator_size;
  plan.chunk_vectors = ChunkVectors(g, lanes, vector_bytes);
  plan.chunk = plan.chunk_vectors * lanes;
  plan.chunks = CeilDivide(g.in_depth, plan.chunk);
  plan.tile_rows = (g.out_rows - 1) * g.stride_rows +
                   (g.filter_rows - 1) * g.dilation_rows + 1;
  plan.tile_cols = (g.out_cols - 1) * g.stride_cols +
                   (g.filter_cols - 1) * g.dilation_cols + 1;
  const double pixels = static_cast<double>(plan.tile_rows) * plan.tile_cols;
  const double uses = static_cast<double>(g.out_depth) * k * g.taps();
  const double pixel_bytes = static_cast<double>(plan.chunk) * accumulator_size;

  const bool can_read_directly =
      g.layout == Layout::kNHWC && stored_size == accumulator_size &&
      g.in_depth % plan.chunk == 0 && g.filter_rows <= kLargestMaskedFilter &&
      g.filter_cols <= kLargestMaskedFilter;
  const bool fits_tile = pixels * pixel_bytes <= kLargestTileBytes;
  double image_bytes = 0;
  if (fits_tile && (uses >= kPackedReuse * pixels || !can_read_directly)) {
    plan.path = AccumulationPath::kPacked;
    image_bytes = pixels * pixel_bytes;
  } else if (can_read_directly) {
    plan.path = AccumulationPath::kDirect;
    image_bytes = std::min(pixels, uses) * pixel_bytes;
  } else {
    plan.path = AccumulationPath::kGeneral;
    plan.chunk = g.in_depth;
    plan.chunks = 1;
    image_bytes = kTileBytes;
  }
  plan.tile_images = std::clamp<int64_t>(
      static_cast<int64_t>(kTileBytes / image_bytes), 1, g.batch);
  if (plan.path == AccumulationPath::kPacked) {
    plan.tile_size = AlignedSize(plan.tile_images * plan.tile_rows *
                                 plan.tile_cols * plan.chunk);
  }
  plan.groups = CeilDivide(g.out_depth, kAccumulationGroup);
  plan.units = plan.chunks * plan.groups;
  plan.sums_size =
      AlignedSize(plan.chunks * plan.chunk * g.taps() * g.out_depth);
  return plan;
}

}  // namespace tf_approxgrad
