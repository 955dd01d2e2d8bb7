// The row-sampled method's kernels of one instruction set. The including file
// sets the compiler's target and defines TF_APPROXGRAD_TARGET (the namespace)
// and TF_APPROXGRAD_VECTOR_BYTES; it has included all other headers before.

namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// In the order in which they use each other.
// clang-format off
#include "cc/kernels/vectors.h"
#include "cc/kernels/streaming_impl.h"
#include "cc/kernels/row_values_impl.h"
#include "cc/kernels/row_tiles_impl.h"
#include "cc/kernels/row_blocks_impl.h"
#include "cc/kernels/row_product_impl.h"
#include "cc/kernels/filter_pack_impl.h"
#include "cc/kernels/input_write_impl.h"
#include "cc/kernels/row_input_product_impl.h"
// clang-format on

}  // namespace

template <typename T>
RowKernels<T> GetRowKernels() {
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

template RowKernels<float> GetRowKernels<float>();
template RowKernels<double> GetRowKernels<double>();
template RowKernels<Bfloat16> GetRowKernels<Bfloat16>();
template RowKernels<Half> GetRowKernels<Half>();

}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
