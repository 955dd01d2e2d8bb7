#include "cc/cpu/positions/kernels.h"

namespace tf_approxgrad {

template <typename T>
PositionsKernels<T> PositionsKernelsFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::GetPositionsKernels<T>();
    case InstructionSet::kAvx2:
      return avx2::GetPositionsKernels<T>();
#endif
    default:
      return baseline::GetPositionsKernels<T>();
  }
}

template PositionsKernels<float> PositionsKernelsFor<float>(InstructionSet);
template PositionsKernels<double> PositionsKernelsFor<double>(InstructionSet);
template PositionsKernels<Bfloat16> PositionsKernelsFor<Bfloat16>(InstructionSet);
template PositionsKernels<Half> PositionsKernelsFor<Half>(InstructionSet);

}  // namespace tf_approxgrad
