// Whole numbers, for cutting work into pieces.

#ifndef TF_APPROXGRAD_CC_COMMON_INTEGER_MATH_H_
#define TF_APPROXGRAD_CC_COMMON_INTEGER_MATH_H_

#include <cstdint>

#include "cc/common/host_device.h"

namespace tf_approxgrad {

// The quotient, rounded up, of a number that isn't negative.
TF_APPROXGRAD_HOST_DEVICE inline int64_t DivideUp(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

// The smallest multiple of `of` that is at least `value`.
inline int64_t RoundUp(int64_t value, int64_t of) {
  return DivideUp(value, of) * of;
}

// The smallest power of two that is at least `wanted`, from `least`, a power of
// two itself, to `most`.
inline int64_t PowerOfTwo(int64_t wanted, int64_t most, int64_t least = 1) {
  int64_t power = least;
  while (power < wanted && power < most) power *= 2;
  return power;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_INTEGER_MATH_H_
