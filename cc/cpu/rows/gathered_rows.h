// The rows that the row-sampled method draws, gathered: what a matrix product
// by somebody else needs. By one thread.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_GATHERED_ROWS_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_GATHERED_ROWS_H_

#include <cstdint>

#include "cc/common/float_types.h"
#include "cc/common/geometry.h"
#include "cc/common/row_draw.h"
#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

template <typename T>
class GatheredRows {
 public:
  using Accumulator = typename AccumulatorOf<T>::type;

  // All sizes of `geometry` must be positive.
  GatheredRows(const ConvGeometry& geometry, const RowSampling& sampling,
               const RowsKernels<T>& kernels);

  // Bytes of scratch for Compute, which must be aligned to 64.
  int64_t scratch_bytes() const;

  // Writes the drawn rows' `patches` of X, [draws, KH * KW * Ci], and their
  // weighted rows of dY, [draws, Co]. Places that nothing was drawn for are
  // zero. Returns what was drawn, in the scratch; nothing if a size isn't
  // finite, which makes `weighted` NaN.
  DrawnRows Compute(double uniform, const T* input, const T* out_backprop,
                    void* scratch, Accumulator* patches,
                    Accumulator* weighted) const;

 private:
  ConvGeometry geometry_;
  RowSampling sampling_;
  RowsKernels<T> kernels_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_GATHERED_ROWS_H_
