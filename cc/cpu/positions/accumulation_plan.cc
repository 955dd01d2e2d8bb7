#include "cc/cpu/positions/accumulation_plan.h"

#include <algorithm>

#include "cc/common/integer_math.h"

namespace tf_approxgrad {
namespace {

// An image may fill a tile by itself up to this.
constexpr int64_t kLargestImageBytes = 1024 * 1024;

// Uses of a pixel of X from which copying it into a tile pays.
constexpr double kTileReuse = 1.2;

// Share of taps inside the input below which adding them alone pays.
constexpr double kClippedShare = 0.5;

// The masks of a border patch have a bit for each tap of an axis.
constexpr int64_t kLargestMaskedFilter = 64;

// Offsets within a tile are 32-bit.
constexpr double kMostOffsets = 1 << 30;

// The share of a cache that a tile, or a run and its sums, may take.
constexpr double kLevel1Share = 0.85;
constexpr double kLevel2Share = 0.65;
// For clipped runs, whose length decides the order of a sum: the same on every
// machine.
constexpr int64_t kClippedRunBytes = 24 * 1024;

// Cycles that a line of 64 bytes takes: read in a multiply-add from the L1 or
// the L2 cache, streamed from L2 to L1, and read and written again as a sum.
constexpr double kLevel1Cycles = 0.85;
constexpr double kLevel2Cycles = 1.7;
constexpr double kStreamCycles = 1.2;
constexpr double kSumCycles = 1.5;

// Units of a worker, so that the last to finish isn't waited for long.
constexpr int64_t kUnitsOfWorker = 4;
// Output channels of a part, at least, where no tile is copied for it.
constexpr int64_t kChannelsOfPart = 4;

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

// The zeros that follow each of `in_size` rows or columns: they serve as the
// padding behind it and as that before the next.
int64_t Gap(int64_t out_size, int64_t stride, int64_t padding, int64_t taps,
            int64_t dilation, int64_t in_size) {
  const int64_t behind =
      (out_size - 1) * stride + (taps - 1) * dilation - padding - in_size + 1;
  return std::max(padding, behind);
}

}  // namespace

bool IsMostlyOutside(const ConvGeometry& g) {
  if (g.positions() > kMostClippedPositions) return false;
  const int64_t inside =
      InsideTapsOfAxis(g.out_rows, g.stride_rows, g.pad_top, g.filter_rows,
                       g.dilation_rows, g.in_rows) *
      InsideTapsOfAxis(g.out_cols, g.stride_cols, g.pad_left, g.filter_cols,
                       g.dilation_cols, g.in_cols);
  return inside < kClippedShare * g.positions() * g.taps();
}

void PlanImage(const ConvGeometry& g, AccumulationPlan* plan) {
  plan->row_pixels = g.in_cols;
  plan->image_pixels = g.in_rows * g.in_cols;
  plan->lead_pixels = 0;
  if (plan->clipped) return;
  plan->row_pixels += Gap(g.out_cols, g.stride_cols, g.pad_left, g.filter_cols,
                          g.dilation_cols, g.in_cols);
  plan->image_pixels =
      plan->row_pixels *
      (g.in_rows + Gap(g.out_rows, g.stride_rows, g.pad_top, g.filter_rows,
                       g.dilation_rows, g.in_rows));
  plan->lead_pixels = g.pad_top * plan->row_pixels + g.pad_left;
}

void SetChunk(const ConvGeometry& g, int vectors, int64_t lanes,
              AccumulationPlan* plan) {
  plan->chunk_vectors = vectors;
  plan->chunk = vectors * lanes;
  plan->chunks = DivideUp(g.in_depth, plan->chunk);
}

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

namespace {

struct Run {
  int64_t group = 0, images = 0;
  // Of one image's patches and one chunk of one vector.
  double cycles_per_patch = 0;
};

// The best run whose images, with a group's sums, fit the L1 cache.
Run BestLevel1Run(const ConvGeometry& g, const AccumulationPlan& plan,
                  int64_t k, int64_t vector_bytes, const CacheSizes& caches) {
  Run best;
  const double budget = kLevel1Share * static_cast<double>(caches.level1);
  const double image_bytes =
      static_cast<double>(plan.image_pixels) * vector_bytes;
  const double lines = static_cast<double>(vector_bytes) / 64;
  for (int64_t group = kGroupStep; group <= kLargestGroup; group *= 2) {
    const double sums_bytes =
        static_cast<double>(group) * g.taps() * vector_bytes;
    // The patches themselves pass through the cache as well.
    const double patch_bytes = 8.0 * group * k;
    const auto images = static_cast<int64_t>((budget - sums_bytes) /
                                             (image_bytes + patch_bytes));
    if (images < 1) break;
    const double patches =
        static_cast<double>(std::min(images, g.batch)) * group * k;
    const double cycles =
        lines *
        (kLevel1Cycles * g.taps() +
         (kStreamCycles * std::min(images, g.batch) * plan.image_pixels +
          kSumCycles * group * g.taps()) /
             patches);
    if (best.images == 0 || cycles < best.cycles_per_patch) {
      best = {group, std::min(images, g.batch), cycles};
    }
  }
  return best;
}

// Cuts kTile, for which the image is planned, into chunks, groups and runs.
void PlanRuns(const ConvGeometry& g, int64_t k, int64_t lanes,
              int64_t vector_bytes, int64_t workers, const CacheSizes& caches,
              AccumulationPlan* plan) {
  if (plan->clipped) {
    const int64_t image_bytes =
        plan->image_pixels * plan->chunk_vectors * vector_bytes;
    plan->run_images = std::clamp<int64_t>(
        std::min(kClippedRunBytes / image_bytes, kMostClippedPatches / k), 1,
        g.batch);
    return;
  }
  const Run run = BestLevel1Run(g, *plan, k, vector_bytes, caches);
  const double from_level2 =
      kLevel2Cycles * g.taps() * static_cast<double>(vector_bytes) / 64;
  if (run.images > 0 && run.cycles_per_patch < from_level2 && g.taps() > 1) {
    plan->group = run.group;
    plan->run_images = run.images;
    // Half the channels, twice the images: sums are read and written less.
    SetChunk(g, 1, lanes, plan);
    // Two chunks are a piece of X of two lines, which the memory gives
    // together.
    const bool enough = plan->chunks >= 2 * kUnitsOfWorker * workers;
    plan->unit_chunks = enough ? 2 : 1;
  }
}

// Chooses the path, and for kTile the runs. Returns the bytes of a chunk's
// image in the L2 cache.
double PlanPath(const ConvGeometry& g, int64_t k, int64_t stored_size,
                int64_t accumulator_size, int64_t vector_bytes, int64_t workers,
                const CacheSizes& caches, AccumulationPlan* plan) {
  const double pixels = static_cast<double>(plan->image_pixels);
  const double uses = static_cast<double>(g.out_depth) * k * g.taps();
  const double pixel_bytes =
      static_cast<double>(plan->chunk) * accumulator_size;
  const bool can_read_directly =
      g.layout == Layout::kNHWC && stored_size == accumulator_size &&
      g.in_depth % plan->chunk == 0 && g.filter_rows <= kLargestMaskedFilter &&
      g.filter_cols <= kLargestMaskedFilter &&
      static_cast<double>(g.in_rows + g.pad_top) * g.in_cols * g.in_depth <=
          kMostOffsets;
  const bool fits_tile = pixels * pixel_bytes <= kLargestImageBytes;
  if (fits_tile && (uses >= kTileReuse * pixels || !can_read_directly)) {
    plan->path = AccumulationPath::kTile;
    PlanRuns(g, k, vector_bytes / accumulator_size, vector_bytes, workers,
             caches, plan);
    return pixels * static_cast<double>(plan->unit_chunks * plan->chunk) *
           accumulator_size;
  }
  plan->clipped = false;
  const double tile_bytes = kLevel2Share * static_cast<double>(caches.level2);
  if (can_read_directly) {
    plan->path = AccumulationPath::kDirect;
    return std::max(
        std::min(pixels, uses) * pixel_bytes,
        tile_bytes * g.in_rows * g.in_cols * g.in_depth / kMostOffsets);
  }
  plan->path = AccumulationPath::kGeneral;
  plan->chunk = g.in_depth;
  plan->chunks = 1;
  return tile_bytes / static_cast<double>(g.batch);
}

// Runs of about one length, and tiles of whole runs.
void PlanTiles(const ConvGeometry& g, double image_bytes,
               const CacheSizes& caches, AccumulationPlan* plan) {
  const double tile_bytes = kLevel2Share * static_cast<double>(caches.level2);
  plan->tile_images = std::clamp<int64_t>(
      static_cast<int64_t>(tile_bytes / image_bytes), 1, g.batch);
  if (plan->run_images == 0) plan->run_images = plan->tile_images;
  plan->run_images = DivideUp(g.batch, DivideUp(g.batch, plan->run_images));
  if (plan->tile_images < g.batch) {
    plan->tile_images =
        std::max<int64_t>(plan->tile_images / plan->run_images, 1) *
        plan->run_images;
  }
  plan->tiles = DivideUp(g.batch, plan->tile_images);
  plan->runs = DivideUp(g.batch, plan->run_images);
}

// Cuts the work into units, and sizes the scratch of a worker.
void PlanUnits(const ConvGeometry& g, int64_t workers, AccumulationPlan* plan) {
  const bool tile = plan->path == AccumulationPath::kTile;
  plan->part_step = tile ? plan->group : kChannelsOfPart;
  const int64_t steps = DivideUp(g.out_depth, plan->part_step);
  const int64_t chunk_units = DivideUp(plan->chunks, plan->unit_chunks);
  // Each part copies the tile for itself.
  plan->parts = std::clamp<int64_t>(
      DivideUp(tile ? workers : kUnitsOfWorker * workers, chunk_units), 1,
      steps);
  plan->units = chunk_units * plan->parts;
  if (tile) {
    plan->tile_size = AlignedSize(
        (plan->lead_pixels + plan->tile_images * plan->image_pixels) *
        plan->chunk);
  }
  plan->sums_size = AlignedSize(DivideUp(steps, plan->parts) * plan->part_step *
                                g.taps() * plan->chunk);
  if (plan->clipped) {
    plan->class_counts_size = g.out_depth * plan->runs * kMostClippedPositions;
  }
}

}  // namespace

AccumulationPlan PlanAccumulation(const ConvGeometry& g, int64_t k,
                                  int64_t stored_size, int64_t accumulator_size,
                                  int64_t vector_bytes, int64_t workers,
                                  const CacheSizes& caches) {
  AccumulationPlan plan;
  const int64_t lanes = vector_bytes / accumulator_size;
  plan.clipped = IsMostlyOutside(g);
  plan.group = kGroupStep;
  plan.streams_result =
      g.filter_size() * g.out_depth * stored_size > caches.level2;
  SetChunk(g, ChunkVectors(g, lanes, vector_bytes), lanes, &plan);
  PlanImage(g, &plan);
  const double image_bytes = PlanPath(g, k, stored_size, accumulator_size,
                                      vector_bytes, workers, caches, &plan);
  PlanTiles(g, image_bytes, caches, &plan);
  PlanUnits(g, workers, &plan);
  return plan;
}

}  // namespace tf_approxgrad
