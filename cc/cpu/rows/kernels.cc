#include "cc/cpu/rows/kernels.h"

namespace tf_approxgrad {

template <typename T>
RowKernels<T> RowKernelsFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::GetRowKernels<T>();
    case InstructionSet::kAvx2:
      return avx2::GetRowKernels<T>();
#endif
    default:
      return baseline::GetRowKernels<T>();
  }
}

template RowKernels<float> RowKernelsFor<float>(InstructionSet);
template RowKernels<double> RowKernelsFor<double>(InstructionSet);
template RowKernels<Bfloat16> RowKernelsFor<Bfloat16>(InstructionSet);
template RowKernels<Half> RowKernelsFor<Half>(InstructionSet);

}  // namespace tf_approxgrad
