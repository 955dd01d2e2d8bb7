// How the row-sampled method's product is cut into units.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_PLAN_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_PLAN_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

// Threads that are worth waking for a gradient from `draws` rows.
int64_t UsefulProductWorkers(const ConvGeometry& geometry, int64_t draws,
                             int64_t threads);

// A small dF is made from several pieces of the drawn rows, so that each thread
// reads X and dY of its own; a large one in units of channels, whose sums stay
// in L2. The pieces, which decide in which order an element is summed, depend
// on the sizes alone.
ProductPlan PlanProduct(const ConvGeometry& geometry, int64_t draws,
                        int64_t accumulator_bytes, int64_t workers,
                        const CacheSizes& caches);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_PRODUCT_PLAN_H_
