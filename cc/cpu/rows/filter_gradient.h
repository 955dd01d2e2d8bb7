// The row-sampled method from end to end: sizes of the rows, the draw, then the
// product of the drawn rows with their patches, spread over the threads that
// the caller offers.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_FILTER_GRADIENT_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_FILTER_GRADIENT_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/core/instruction_set.h"
#include "cc/cpu/core/scratch_layout.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/sampler.h"

namespace tf_approxgrad {

template <typename T>
class RowsFilterGradient {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive. `threads` is how many there are,
  // at least 1; a small gradient takes fewer.
  RowsFilterGradient(const ConvGeometry& geometry, const RowSampling& sampling,
                     int64_t threads,
                     InstructionSet instruction_set = ChosenInstructionSet());

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes every element of `filter_backprop` [KH, KW, Ci, Co]: `scale` times
  // the estimate of the gradient that the rows drawn by `uniform`, in [0, 1),
  // make. A row whose size isn't finite makes all elements NaN.
  void Compute(double scale, double uniform, const T* input,
               const T* out_backprop, void* scratch, T* filter_backprop,
               const RunWorkers& run_workers) const;

 private:
  struct Scratch {
    RowSamplerScratch rows;
    T* pixels;  // [N * H * W, Ci] if X is rearranged
    Accumulator* piece_sums;
    char* workers;
  };

  bool is_rearranged() const;
  Scratch LayOut(ScratchLayout* layout) const;

  ConvGeometry geometry_;
  RowSampling sampling_;
  RowsKernels<T> kernels_;
  int64_t workers_;
  ProductPlan plan_;
  int64_t worker_bytes_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_FILTER_GRADIENT_H_
