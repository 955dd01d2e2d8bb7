#include "cc/kernels/max_kernels.h"

namespace tf_approxgrad {

template <typename T>
MaxKernels<T> MaxKernelsFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::GetMaxKernels<T>();
    case InstructionSet::kAvx2:
      return avx2::GetMaxKernels<T>();
#endif
    default:
      return baseline::GetMaxKernels<T>();
  }
}

template MaxKernels<float> MaxKernelsFor<float>(InstructionSet);
template MaxKernels<double> MaxKernelsFor<double>(InstructionSet);
template MaxKernels<Bfloat16> MaxKernelsFor<Bfloat16>(InstructionSet);
template MaxKernels<Half> MaxKernelsFor<Half>(InstructionSet);

}  // namespace tf_approxgrad
