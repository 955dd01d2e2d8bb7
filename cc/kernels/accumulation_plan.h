// How the accumulation of one convolution is cut into pieces. Pure arithmetic
// on sizes, the same for every number of threads.

#ifndef TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_PLAN_H_
#define TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_PLAN_H_

#include <cstdint>

#include "cc/kernels/geometry.h"

namespace tf_approxgrad {

// Each has a file, such as tile_accumulation_impl.h, that says what it does.
enum class AccumulationPath { kTile, kDirect, kGeneral };

// Output channels of one unit.
constexpr int64_t kAccumulationGroup = 16;

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

struct AccumulationPlan {
  AccumulationPath path = AccumulationPath::kGeneral;
  // Input channels are processed in chunks of `chunk` = chunk_vectors vectors;
  // kGeneral takes them all at once.
  int chunk_vectors = 0;
  int64_t chunk = 0;
  int64_t chunks = 1;
  // Examples of a tile and tiles of a batch; for kDirect, those whose part of X
  // stays in the cache.
  int64_t tile_images = 0;
  int64_t tiles = 1;
  // kTile: the size of an image in the tile, and the zeros around it. A clipped
  // one has none, as only taps inside the input are read.
  bool clipped = false;
  int64_t tile_rows = 0;
  int64_t tile_cols = 0;
  int64_t pad_top = 0;
  int64_t pad_left = 0;

  // Groups of output channels, and units: groups for each chunk.
  int64_t groups = 0;
  int64_t units = 0;
  // Scratch: accumulators of one worker (tile_elements of them its tile), those
  // of the sums of all units, and integers for the classes of clipped patches.
  int64_t tile_elements = 0;
  int64_t tile_size = 0;
  int64_t sums_size = 0;
  int64_t class_counts_size = 0;
};

// `stored_size` and `accumulator_size` are the bytes of an element of X and of
// a sum, `vector_bytes` those of a vector of the instruction set.
AccumulationPlan PlanAccumulation(const ConvGeometry& geometry, int64_t k,
                                  int64_t stored_size, int64_t accumulator_size,
                                  int64_t vector_bytes);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_PLAN_H_
