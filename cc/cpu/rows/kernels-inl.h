// The kernels of row-sampled in one table.

#ifndef TF_APPROXGRAD_CC_CPU_ROWS_KERNELS_INL_H_
#define TF_APPROXGRAD_CC_CPU_ROWS_KERNELS_INL_H_

#include "cc/common/float_types.h"
#include "cc/common/target.h"
#include "cc/cpu/core/filter_pack-inl.h"
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/rows/draw-inl.h"
#include "cc/cpu/rows/input_product-inl.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/rows/norms-inl.h"
#include "cc/cpu/rows/product-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

template <typename T>
void Collect(RowsKernels<T>* kernels) {
  *kernels = {{&SumParts, &LimitOfLargest, &LowerSizes, &DrawRows},
              kLanes<typename AccumulatorOf<T>::type>,
              &SquareSums<T>,
              &MultiplyByPatchSquares,
              &ArrangePixels<T>,
              &ProductWorkerBytes<T>,
              &MultiplyUnit<T>,
              &AddPieces<T>,
              &PackFilter<T>,
              &InputProductWorkerBytes<T>,
              &MultiplyInputUnit<T>};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_ROWS_KERNELS_INL_H_
