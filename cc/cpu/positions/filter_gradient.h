// The methods that keep positions, max and sampled, from end to end: selection,
// then accumulation, spread over the threads that the caller offers.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_FILTER_GRADIENT_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_FILTER_GRADIENT_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/selection.h"
#include "cc/cpu/core/cache_sizes.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/positions/accumulation_plan.h"
#include "cc/cpu/positions/kernels.h"

namespace tf_approxgrad {

template <typename T>
class PositionsFilterGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive. `threads` is how many there are,
  // at least 1; a small gradient takes fewer.
  PositionsFilterGradient(
      const ConvGeometry& geometry, const Selection& selection, int64_t threads,
      InstructionSet instruction_set = ChosenInstructionSet(),
      const CacheSizes& caches = DetectedCacheSizes());

  const AccumulationPlan& plan() const { return plan_; }

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes every element of `filter_backprop` [KH, KW, Ci, Co].
  void Compute(double scale, const T* input, const T* out_backprop,
               void* scratch, T* filter_backprop,
               const RunWorkers& run_workers) const;

 private:
  // Positions that are kept, of all examples and output channels.
  int64_t kept() const {
    return geometry_.batch * geometry_.out_depth * selection_.k;
  }

  ConvGeometry geometry_;
  Selection selection_;
  PositionsKernels<T> kernels_;
  int64_t workers_;
  AccumulationPlan plan_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_FILTER_GRADIENT_H_
