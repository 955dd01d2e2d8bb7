// The squared norms of the rows of dY and of their patches of X, spread over
// the threads of a call.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_ROW_SQUARES_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_ROW_SQUARES_H_

#include <cstdint>

#include "cc/common/geometry.h"
#include "cc/cpu/core/unit_queue.h"
#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

// All its arguments must outlive it.
template <typename T>
class RowSquares {
 public:
  // `pixel_sums` has N * H * W elements. Without, X isn't read, and there are
  // no products.
  RowSquares(const ConvGeometry& geometry, const RowsKernels<T>& kernels,
             const T* input, const T* out_backprop, double* pixel_sums);

  // Called by every thread of the call, before MultiplyByPatches.
  void MeasurePixels();

  // Writes the squared norms of the rows [begin, end) of dY to their places.
  void MeasureRows(int64_t begin, int64_t end, double* squares) const;

  // Multiplies them by those of their patches.
  void MultiplyByPatches(int64_t begin, int64_t end, double* squares) const;

 private:
  int64_t pixels() const {
    return geometry_.batch * geometry_.in_rows * geometry_.in_cols;
  }

  const ConvGeometry& geometry_;
  const RowsKernels<T>& kernels_;
  const T* input_;
  const T* out_backprop_;
  double* pixel_sums_;
  UnitQueue queue_;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_ROW_SQUARES_H_
