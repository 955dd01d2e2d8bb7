#include "cc/cpu/positions/kernels.h"

namespace tf_approxgrad {

template <typename T>
KeptKernels<T> KeptKernelsFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::GetKeptKernels<T>();
    case InstructionSet::kAvx2:
      return avx2::GetKeptKernels<T>();
#endif
    default:
      return baseline::GetKeptKernels<T>();
  }
}

template KeptKernels<float> KeptKernelsFor<float>(InstructionSet);
template KeptKernels<double> KeptKernelsFor<double>(InstructionSet);
template KeptKernels<Bfloat16> KeptKernelsFor<Bfloat16>(InstructionSet);
template KeptKernels<Half> KeptKernelsFor<Half>(InstructionSet);

}  // namespace tf_approxgrad
