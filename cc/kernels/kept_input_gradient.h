// The input gradient of the methods that keep positions, max and sampled, from
// end to end: selection, then scatter, spread over the threads that the caller
// offers.

#ifndef TF_APPROXGRAD_CC_KERNELS_KEPT_INPUT_GRADIENT_H_
#define TF_APPROXGRAD_CC_KERNELS_KEPT_INPUT_GRADIENT_H_

#include <cstdint>

#include "cc/kernels/accumulation_plan.h"
#include "cc/kernels/cache_sizes.h"
#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/kept_kernels.h"
#include "cc/kernels/packed_filter.h"
#include "cc/kernels/scratch_layout.h"
#include "cc/kernels/selection.h"
#include "cc/kernels/unit_queue.h"

namespace tf_approxgrad {

template <typename T>
class KeptInputGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive. `threads` is how many there are,
  // at least 1; a small gradient takes fewer.
  KeptInputGradient(const ConvGeometry& geometry, const Selection& selection,
                    int64_t threads,
                    InstructionSet instruction_set = ChosenInstructionSet(),
                    const CacheSizes& caches = DetectedCacheSizes());

  const AccumulationPlan& plan() const { return plan_; }

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes every element of `in_backprop`, which is laid out as the input.
  // `filter` is [KH, KW, Ci, Co].
  void Compute(double scale, const T* filter, const T* out_backprop,
               void* scratch, T* in_backprop,
               const RunWorkers& run_workers) const;

 private:
  struct Scratch {
    KeptPatch<Accumulator>* patches;
    int32_t* class_counts;
    Accumulator* packed_filter;
    Accumulator* tiles;
  };

  Scratch LayOut(ScratchLayout* layout) const;

  ConvGeometry geometry_;
  Selection selection_;
  KeptKernels<T> kernels_;
  int64_t workers_;
  AccumulationPlan plan_;
  PackedFilter packed_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_KEPT_INPUT_GRADIENT_H_
