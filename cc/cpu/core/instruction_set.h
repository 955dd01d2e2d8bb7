// Which vector instructions the kernels use, chosen when they first run.

#ifndef TF_APPROXGRAD_CC_CPU_CORE_INSTRUCTION_SET_H_
#define TF_APPROXGRAD_CC_CPU_CORE_INSTRUCTION_SET_H_

#include <string>

namespace tf_approxgrad {

// From narrow to wide. kBaseline is what the compiler's default target has:
// SSE2 on x86-64, NEON on aarch64.
enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The widest set that the processor and the build have. The environment
// variable TF_APPROXGRAD_INSTRUCTION_SET (baseline, avx2 or avx512) asks for
// another; one that isn't to be had is not used.
InstructionSet ChosenInstructionSet();

// The name as in the environment variable.
std::string InstructionSetName(InstructionSet instruction_set);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_CORE_INSTRUCTION_SET_H_
