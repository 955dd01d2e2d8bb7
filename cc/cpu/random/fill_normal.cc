#include "cc/cpu/random/fill_normal.h"

namespace tf_approxgrad {

template <typename T>
FillNormal<T> FillNormalFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::GetFillNormal<T>();
    case InstructionSet::kAvx2:
      return avx2::GetFillNormal<T>();
#endif
    default:
      return baseline::GetFillNormal<T>();
  }
}

template FillNormal<float> FillNormalFor<float>(InstructionSet);
template FillNormal<double> FillNormalFor<double>(InstructionSet);
template FillNormal<Bfloat16> FillNormalFor<Bfloat16>(InstructionSet);
template FillNormal<Half> FillNormalFor<Half>(InstructionSet);

}  // namespace tf_approxgrad
