// The max method from end to end: selection, listing, accumulation, each spread
// over the threads that the caller offers.

#ifndef TF_APPROXGRAD_CC_KERNELS_MAX_GRADIENT_H_
#define TF_APPROXGRAD_CC_KERNELS_MAX_GRADIENT_H_

#include <cstdint>
#include <functional>

#include "cc/kernels/float_types.h"
#include "cc/kernels/geometry.h"
#include "cc/kernels/max_kernels.h"

namespace tf_approxgrad {

// The threads that a caller offers.
struct ParallelFor {
  // How many there are, at least 1.
  int64_t workers = 1;
  // Calls work(begin, end) over disjoint ranges that cover [0, units), on any
  // of them, and returns when all are done. `cycles_per_unit` is an estimate.
  std::function<void(int64_t units, int64_t cycles_per_unit,
                     const std::function<void(int64_t, int64_t)>& work)>
      run;
};

template <typename T>
class MaxGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive and k in [1, Ho * Wo].
  MaxGradient(const ConvGeometry& geometry, int64_t k, int64_t workers,
              InstructionSet instruction_set = ChosenInstructionSet());

  // Elements of scratch for Compute: int32 positions, and accumulators.
  int64_t positions_size() const { return kept() + plan_.class_counts_size; }
  int64_t accumulators_size() const;

  // Writes every element of `filter_backprop` [KH, KW, Ci, Co].
  void Compute(double scale, const T* input, const T* out_backprop,
               int32_t* positions, Accumulator* accumulators,
               T* filter_backprop, const ParallelFor& parallel_for) const;

 private:
  // Positions that are kept, of all examples and output channels.
  int64_t kept() const { return geometry_.batch * geometry_.out_depth * k_; }

  ConvGeometry geometry_;
  int64_t k_;
  MaxKernels<T> kernels_;
  AccumulationPlan plan_;
  // Workers of the accumulation, each with a tile of its own.
  int64_t tiles_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_KERNELS_MAX_GRADIENT_H_
