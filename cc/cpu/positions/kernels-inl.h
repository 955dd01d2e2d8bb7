// The kernels of one instruction set. The including file sets the compiler's
// target and defines TF_APPROXGRAD_TARGET (the namespace) and
// TF_APPROXGRAD_VECTOR_BYTES; it has included all other headers before.

namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// In the order in which they use each other.
// clang-format off
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/core/streaming-inl.h"
#include "cc/cpu/positions/patch_list-inl.h"
#include "cc/cpu/positions/selection_max_heap-inl.h"
#include "cc/cpu/positions/selection_max-inl.h"
#include "cc/cpu/positions/selection_max_sorted-inl.h"
#include "cc/common/philox-inl.h"
#include "cc/cpu/core/philox_group-inl.h"
#include "cc/cpu/positions/selection_sampled-inl.h"
#include "cc/cpu/positions/selection-inl.h"
#include "cc/cpu/positions/accumulation_add_patches-inl.h"
#include "cc/cpu/positions/filter_write-inl.h"
#include "cc/cpu/positions/accumulation_clipped-inl.h"
#include "cc/cpu/positions/accumulation_tile-inl.h"
#include "cc/cpu/positions/accumulation_direct-inl.h"
#include "cc/cpu/positions/accumulation_general-inl.h"
#include "cc/cpu/positions/accumulation-inl.h"
#include "cc/cpu/core/filter_pack-inl.h"
#include "cc/cpu/core/input_write-inl.h"
#include "cc/cpu/positions/scatter_general-inl.h"
#include "cc/cpu/positions/scatter-inl.h"
// clang-format on

}  // namespace

template <typename T>
PositionsKernels<T> GetPositionsKernels() {
  return {TF_APPROXGRAD_VECTOR_BYTES,
          &SelectUnits<T>,
          &SortClippedPatches<typename AccumulatorOf<T>::type>,
          &AccumulateUnit<T>,
          &PackFilter<T>,
          &ScatterUnit<T>};
}

template PositionsKernels<float> GetPositionsKernels<float>();
template PositionsKernels<double> GetPositionsKernels<double>();
template PositionsKernels<Bfloat16> GetPositionsKernels<Bfloat16>();
template PositionsKernels<Half> GetPositionsKernels<Half>();

}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
