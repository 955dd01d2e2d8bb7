// Which random numbers: what a counter-based generator makes them from.

#ifndef TF_APPROXGRAD_CC_COMMON_RANDOM_STREAM_H_
#define TF_APPROXGRAD_CC_COMMON_RANDOM_STREAM_H_

#include <cstdint>

namespace tf_approxgrad {

struct RandomStream {
  uint64_t seed = 0;
  uint32_t layer = 0;
  uint64_t step = 0;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_RANDOM_STREAM_H_
