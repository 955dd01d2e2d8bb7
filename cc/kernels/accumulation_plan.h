// How the accumulation of one convolution is cut into pieces. Pure arithmetic
// on sizes, the same for every number of threads.

#ifndef TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_PLAN_H_
#define TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_PLAN_H_

#include <cstdint>

#include "cc/kernels/geometry.h"

namespace tf_approxgrad {

// See accumulation_impl.h for what each does.
enum class AccumulationPath { kDirect, kPacked, kGeneral };

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

struct AccumulationPlan {
  AccumulationPath path = AccumulationPath::kGeneral;
  // Input channels are processed in chunks of `chunk` = chunk_vectors vectors;
  // kGeneral takes them all at once.
  int chunk_vectors = 0;
  int64_t chunk = 0;
  int64_t chunks = 1;
  // Examples of a tile, and the rows and columns of each with its border.
  int64_t tile_images = 0;
  int64_t tile_rows = 0;
  int64_t tile_cols = 0;

  // Groups of output channels, and units: groups for each chunk.
  int64_t groups = 0;
  int64_t units = 0;
  // Scratch: accumulators of a worker's tile, and of the sums of all units.
  int64_t tile_size = 0;
  int64_t sums_size = 0;
};

// `stored_size` and `accumulator_size` are the bytes of an element of X and of
// a sum, `vector_bytes` those of a vector of the instruction set.
AccumulationPlan PlanAccumulation(const ConvGeometry& geometry, int64_t k,
                                  int64_t stored_size, int64_t accumulator_size,
                                  int64_t vector_bytes);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_ACCUMULATION_PLAN_H_
