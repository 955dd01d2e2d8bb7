// The kernels of an instruction set.
//
// Each family has a table of its kernels, a struct of functions for one type of
// element: PositionsKernels, RowsKernels, RandomKernels; WinogradKernels is for
// float alone. Each instruction set has a namespace, whose translation unit
// (cc/cpu/target_*.cc) defines all of its tables.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_DISPATCH_H_
#define TF_APPROXGRAD_CC_CPU_CORE_DISPATCH_H_

#include "cc/cpu/core/instruction_set.h"

namespace tf_approxgrad {

namespace baseline {
template <typename Kernels>
Kernels Compiled();
}
namespace avx2 {
template <typename Kernels>
Kernels Compiled();
}
namespace avx512 {
template <typename Kernels>
Kernels Compiled();
}

// `instruction_set` must be one that the processor has.
template <typename Kernels>
Kernels KernelsFor(InstructionSet instruction_set) {
  switch (instruction_set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx512:
      return avx512::Compiled<Kernels>();
    case InstructionSet::kAvx2:
      return avx2::Compiled<Kernels>();
#endif
    default:
      return baseline::Compiled<Kernels>();
  }
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_DISPATCH_H_
