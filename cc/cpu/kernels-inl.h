// All kernels of one instruction set, for the translation unit that compiles
// it.

#ifndef TF_APPROXGRAD_CC_CPU_KERNELS_INL_H_
#define TF_APPROXGRAD_CC_CPU_KERNELS_INL_H_

#include "cc/common/float_types.h"
#include "cc/common/target.h"
#include "cc/cpu/core/dispatch.h"
#include "cc/cpu/positions/kernels-inl.h"
#include "cc/cpu/positions/kernels.h"
#include "cc/cpu/random/kernels-inl.h"
#include "cc/cpu/random/kernels.h"
#include "cc/cpu/rows/kernels-inl.h"
#include "cc/cpu/rows/kernels.h"
#include "cc/cpu/winograd/kernels-inl.h"
#include "cc/cpu/winograd/kernels.h"

TF_APPROXGRAD_BEGIN_TARGET();
namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {

template <typename Kernels>
Kernels Compiled() {
  Kernels kernels;
  Collect(&kernels);
  return kernels;
}

#define TF_APPROXGRAD_COMPILE(T)           \
  template PositionsKernels<T> Compiled(); \
  template RowsKernels<T> Compiled();      \
  template RandomKernels<T> Compiled()
TF_APPROXGRAD_COMPILE(float);
TF_APPROXGRAD_COMPILE(double);
TF_APPROXGRAD_COMPILE(Bfloat16);
TF_APPROXGRAD_COMPILE(Half);
#undef TF_APPROXGRAD_COMPILE
template WinogradKernels Compiled();

}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
TF_APPROXGRAD_END_TARGET();

#endif  // TF_APPROXGRAD_CC_CPU_KERNELS_INL_H_
