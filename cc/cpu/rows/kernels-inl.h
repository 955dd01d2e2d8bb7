// The row-sampled method's kernels of one instruction set. The including file
// sets the compiler's target and defines TF_APPROXGRAD_TARGET (the namespace)
// and TF_APPROXGRAD_VECTOR_BYTES; it has included all other headers before.

namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// In the order in which they use each other.
// clang-format off
#include "cc/cpu/core/vectors-inl.h"
#include "cc/cpu/core/streaming-inl.h"
#include "cc/cpu/rows/norms-inl.h"
#include "cc/cpu/rows/product_tiles-inl.h"
#include "cc/cpu/rows/product_blocks-inl.h"
#include "cc/cpu/rows/product-inl.h"
#include "cc/cpu/core/filter_pack-inl.h"
#include "cc/cpu/core/input_write-inl.h"
#include "cc/cpu/rows/input_product-inl.h"
// clang-format on

}  // namespace

template <typename T>
RowsKernels<T> GetRowsKernels() {
  return {kLanes<typename AccumulatorOf<T>::type>,
          &SquareSums<T>,
          &ArrangePixels<T>,
          &ProductWorkerBytes<T>,
          &MultiplyUnit<T>,
          &AddPieces<T>,
          &PackFilter<T>,
          &InputProductWorkerBytes<T>,
          &MultiplyInputUnit<T>};
}

template RowsKernels<float> GetRowsKernels<float>();
template RowsKernels<double> GetRowsKernels<double>();
template RowsKernels<Bfloat16> GetRowsKernels<Bfloat16>();
template RowsKernels<Half> GetRowsKernels<Half>();

}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
