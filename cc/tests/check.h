// Checks for the standalone tests: they print what is wrong and count it, and
// the test ends with FailedChecks() as its exit status.

#ifndef TF_APPROXGRAD_CC_TESTS_CHECK_H_
#define TF_APPROXGRAD_CC_TESTS_CHECK_H_

#include <cstdio>
#include <string>

namespace tf_approxgrad {

inline int& FailureCount() {
  static int count = 0;
  return count;
}

inline void Check(bool holds, const std::string& what) {
  if (holds) return;
  ++FailureCount();
  if (FailureCount() <= 20) std::fprintf(stderr, "failed: %s\n", what.c_str());
}

// 0 if all checks held, as main returns it.
inline int FailedChecks(const char* test) {
  std::printf("%s: %d failed\n", test, FailureCount());
  return FailureCount() == 0 ? 0 : 1;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_TESTS_CHECK_H_
