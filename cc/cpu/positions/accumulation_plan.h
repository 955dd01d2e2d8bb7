// How the accumulation of one convolution is cut into pieces. Pure arithmetic
// on sizes. The number of workers changes no bit of the result. Nor does
// anything else on kTile, whose clipped runs, which decide the order of a sum,
// depend on the convolution and the instruction set alone. On kDirect a run
// adds its inside patches before those at the border, and is as long as the L2
// cache allows: there another processor may round differently.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_PLAN_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_PLAN_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/cache_sizes.h"

namespace tf_approxgrad {

// Each has a file, such as accumulation_tile-inl.h, that says what it does.
enum class AccumulationPath { kTile, kDirect, kGeneral };

// Groups have a multiple of so many output channels, and at most so many.
constexpr int64_t kGroupStep = 16;
constexpr int64_t kLargestGroup = 64;

// Taps of a block that is accumulated in registers, along each filter axis.
constexpr int64_t kTapBlock = 3;

// Elements of scratch are counted in whole cache lines, because a vector that
// straddles two takes twice as long to load. 64 bytes, in float32's.
constexpr int64_t kLineElements = 16;

inline int64_t AlignedSize(int64_t elements) {
  return (elements + kLineElements - 1) / kLineElements * kLineElements;
}

// Maps of at most so many positions may be planned as `clipped`.
constexpr int64_t kMostClippedPositions = 16;
// Patches of a run of clipped ones.
constexpr int64_t kMostClippedPatches = 512;

struct AccumulationPlan {
  AccumulationPath path = AccumulationPath::kGeneral;
  // Input channels are processed in chunks of `chunk` = chunk_vectors vectors;
  // kGeneral takes them all at once.
  int chunk_vectors = 0;
  int64_t chunk = 0;
  int64_t chunks = 1;
  // Neighbouring chunks that a unit takes, so that it reads whole pieces of X.
  int64_t unit_chunks = 1;
  // Output channels are processed in groups, examples in tiles and, within
  // those, in runs: while the patches of a run are added to the sums of a
  // group, both stay in the L1 cache where that pays. Elsewhere a run is a
  // whole tile, which stays in the L2 cache.
  int64_t group = 0;
  int64_t tile_images = 0;
  int64_t tiles = 1;
  int64_t run_images = 0;
  int64_t runs = 1;
  // kTile: pixels of a row and of an image, each with the zeros behind it, and
  // the zeros before the first. A clipped one has none, as only taps inside the
  // input are read.
  bool clipped = false;
  int64_t row_pixels = 0;
  int64_t image_pixels = 0;
  int64_t lead_pixels = 0;

  // The result is larger than the L2 cache, and written past it.
  bool streams_result = false;

  // A unit is one of `parts` of the output channels, cut at multiples of
  // part_step, for unit_chunks chunks.
  int64_t part_step = 1;
  int64_t parts = 1;
  int64_t units = 0;
  // Scratch of one worker, in accumulators: for each of a unit's chunks a tile
  // and sums, of all of them first the tiles. And integers of all workers, for
  // the classes of clipped patches.
  int64_t tile_size = 0;
  int64_t sums_size = 0;
  int64_t worker_size() const { return unit_chunks * (tile_size + sums_size); }
  int64_t class_counts_size = 0;
};

// Whether most taps lie outside the input, on a map of a few positions.
bool IsMostlyOutside(const ConvGeometry& geometry);

// Sizes of a tile's image, with `clipped` set before.
void PlanImage(const ConvGeometry& geometry, AccumulationPlan* plan);

// How many vectors of input channels a chunk may have: as many as registers
// hold for a block of taps.
int ChunkVectors(const ConvGeometry& geometry, int64_t lanes,
                 int64_t vector_bytes);

void SetChunk(const ConvGeometry& geometry, int vectors, int64_t lanes,
              AccumulationPlan* plan);

// `stored_size` and `accumulator_size` are the bytes of an element of X and of
// a sum, `vector_bytes` those of a vector of the instruction set.
AccumulationPlan PlanAccumulation(const ConvGeometry& geometry, int64_t k,
                                  int64_t stored_size, int64_t accumulator_size,
                                  int64_t vector_bytes, int64_t workers,
                                  const CacheSizes& caches);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_ACCUMULATION_PLAN_H_
