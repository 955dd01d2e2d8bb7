// The kernels of max and sampled in one table.

#ifndef TF_APPROXGRAD_CC_CPU_POSITIONS_KERNELS_INL_H_
#define TF_APPROXGRAD_CC_CPU_POSITIONS_KERNELS_INL_H_

#include "cc/common/float_types.h"
#include "cc/common/target.h"
#include "cc/cpu/core/filter_pack-inl.h"
#include "cc/cpu/positions/accumulation-inl.h"
#include "cc/cpu/positions/accumulation_clipped-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/positions/scatter-inl.h"
#include "cc/cpu/positions/selection-inl.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

template <typename T>
void Collect(PositionsKernels<T>* kernels) {
  *kernels = {TF_APPROXGRAD_VECTOR_BYTES,
              &SelectUnits<T>,
              &SortClippedPatches<typename AccumulatorOf<T>::type>,
              &AccumulateUnit<T>,
              &PackFilter<T>,
              &ScatterUnit<T>};
}

}  // namespace
}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_POSITIONS_KERNELS_INL_H_
