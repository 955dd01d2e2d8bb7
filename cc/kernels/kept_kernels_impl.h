// The kernels of one instruction set. The including file sets the compiler's
// target and defines TF_APPROXGRAD_TARGET (the namespace) and
// TF_APPROXGRAD_VECTOR_BYTES; it has included all other headers before.

namespace tf_approxgrad {
namespace TF_APPROXGRAD_TARGET {
namespace {

// In the order in which they use each other.
// clang-format off
#include "cc/kernels/vectors.h"
#include "cc/kernels/streaming_impl.h"
#include "cc/kernels/patch_list_impl.h"
#include "cc/kernels/heap_impl.h"
#include "cc/kernels/largest_impl.h"
#include "cc/kernels/sorted_impl.h"
#include "cc/kernels/philox_impl.h"
#include "cc/kernels/philox_group_impl.h"
#include "cc/kernels/sampled_impl.h"
#include "cc/kernels/selection_impl.h"
#include "cc/kernels/tap_blocks_impl.h"
#include "cc/kernels/filter_write_impl.h"
#include "cc/kernels/clipped_patches_impl.h"
#include "cc/kernels/tile_accumulation_impl.h"
#include "cc/kernels/direct_accumulation_impl.h"
#include "cc/kernels/general_accumulation_impl.h"
#include "cc/kernels/accumulation_impl.h"
#include "cc/kernels/filter_pack_impl.h"
#include "cc/kernels/input_write_impl.h"
#include "cc/kernels/general_scatter_impl.h"
#include "cc/kernels/scatter_impl.h"
// clang-format on

}  // namespace

template <typename T>
KeptKernels<T> GetKeptKernels() {
  return {TF_APPROXGRAD_VECTOR_BYTES,
          &SelectUnits<T>,
          &SortClippedPatches<typename AccumulatorOf<T>::type>,
          &AccumulateUnit<T>,
          &PackFilter<T>,
          &ScatterUnit<T>};
}

template KeptKernels<float> GetKeptKernels<float>();
template KeptKernels<double> GetKeptKernels<double>();
template KeptKernels<Bfloat16> GetKeptKernels<Bfloat16>();
template KeptKernels<Half> GetKeptKernels<Half>();

}  // namespace TF_APPROXGRAD_TARGET
}  // namespace tf_approxgrad
