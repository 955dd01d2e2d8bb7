// How the scatter of one convolution's filter slices into its input gradient is
// cut into pieces. Pure arithmetic on sizes. The number of workers changes no
// bit of the result, and neither do the caches: an element of dX is summed in
// the order of the output channels, 64 at a time, and within these by tap
// blocks.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_PLAN_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_PLAN_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/positions/accumulation_plan.h"

namespace tf_approxgrad {

// The same cuts and tiles as for the filter gradient, but that a tile is what
// is added to, holds one run, and that a unit is a run and a chunk:
//   kTile     the runs' images fit the L1 cache where one does
//   kGeneral  patch by patch into one example with all its channels: few
//             channels on large maps, and maps of which some positions see no
//             input, where a weight that isn't finite would be lost in a tile
// `stored_size` is the bytes of an element of dX; `workers` are at least 1.
AccumulationPlan PlanScatter(const ConvGeometry& geometry, int64_t k,
                             int64_t stored_size, int64_t accumulator_size,
                             int64_t vector_bytes, int64_t workers,
                             const CacheSizes& caches);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_SCATTER_PLAN_H_
