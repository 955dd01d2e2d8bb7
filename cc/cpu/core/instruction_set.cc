#include "cc/cpu/core/instruction_set.h"

#include <cstdio>
#include <cstdlib>

namespace tf_approxgrad {
namespace {

InstructionSet WidestInstructionSet() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return InstructionSet::kAvx2;
  }
#endif
  return InstructionSet::kBaseline;
}

InstructionSet Choose() {
  const InstructionSet widest = WidestInstructionSet();
  const char* asked = std::getenv("TF_APPROXGRAD_INSTRUCTION_SET");
  if (asked == nullptr) return widest;
  for (InstructionSet candidate :
       {InstructionSet::kBaseline, InstructionSet::kAvx2,
        InstructionSet::kAvx512}) {
    if (InstructionSetName(candidate) == asked && candidate <= widest) {
      return candidate;
    }
  }
  std::fprintf(stderr,
               "tf_approxgrad: TF_APPROXGRAD_INSTRUCTION_SET is \"%s\", but it "
               "must be baseline, or avx2 or avx512 where the processor has "
               "them; %s is used.\n",
               asked, InstructionSetName(widest).c_str());
  return widest;
}

}  // namespace

InstructionSet ChosenInstructionSet() {
  static const InstructionSet chosen = Choose();
  return chosen;
}

std::string InstructionSetName(InstructionSet instruction_set) {
  switch (instruction_set) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace tf_approxgrad
