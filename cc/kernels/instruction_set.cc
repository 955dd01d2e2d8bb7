// For tfag.show_versions, which calls it by ctypes.

#include "cc/cpu/core/instruction_set.h"

#include <string>

extern "C" const char* TfApproxgradInstructionSet() {
  static const std::string name =
      tf_approxgrad::InstructionSetName(tf_approxgrad::ChosenInstructionSet());
  return name.c_str();
}
