// The methods that keep positions, max and sampled, from end to end: selection,
// then accumulation, spread over the threads that the caller offers.

#ifndef TF_APPROXGRAD_CC_KERNELS_KEPT_GRADIENT_H_
#define TF_APPROXGRAD_CC_KERNELS_KEPT_GRADIENT_H_

#include <cstdint>

#include "cc/kernels/accumulation_plan.h"
#include "cc/kernels/cache_sizes.h"
#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/kept_kernels.h"
#include "cc/kernels/selection.h"
#include "cc/kernels/unit_queue.h"

namespace tf_approxgrad {

template <typename T>
class KeptGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive. `threads` is how many there are,
  // at least 1; a small gradient takes fewer.
  KeptGradient(const ConvGeometry& geometry, const Selection& selection,
               int64_t threads,
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
  KeptKernels<T> kernels_;
  int64_t workers_;
  AccumulationPlan plan_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_KEPT_GRADIENT_H_
