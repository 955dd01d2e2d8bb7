// The kernel of the random method, compiled once for each instruction set.
// Which numbers it makes is in normal_numbers.h.

#ifndef TF_APPROXGRAD_CC_CPU_RANDOM_KERNELS_H_
#define TF_APPROXGRAD_CC_CPU_RANDOM_KERNELS_H_

#include <cstdint>

#include "cc/common/random_stream.h"

namespace tf_approxgrad {

template <typename T>
struct RandomKernels {
  // Fills the elements of the groups [begin, end) of `output`, which has `size`
  // elements, at most kMostNormals, with stddev times normal numbers.
  void (*fill_normal)(const RandomStream& stream, double stddev, int64_t begin,
                      int64_t end, int64_t size, T* output);
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CPU_RANDOM_KERNELS_H_
