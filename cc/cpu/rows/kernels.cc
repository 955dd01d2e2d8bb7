#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

template <typename T>
RowsKernels<T> RowsKernelsFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::GetRowsKernels<T>();
    case InstructionSet::kAvx2:
      return avx2::GetRowsKernels<T>();
#endif
    default:
      return baseline::GetRowsKernels<T>();
  }
}

template RowsKernels<float> RowsKernelsFor<float>(InstructionSet);
template RowsKernels<double> RowsKernelsFor<double>(InstructionSet);
template RowsKernels<Bfloat16> RowsKernelsFor<Bfloat16>(InstructionSet);
template RowsKernels<Half> RowsKernelsFor<Half>(InstructionSet);

}  // namespace tf_approxgrad
