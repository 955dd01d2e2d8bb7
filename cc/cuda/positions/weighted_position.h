// What the selection hands to the accumulation.

#ifndef TF_APPROXGRAD_CC_CUDA_POSITIONS_WEIGHTED_POSITION_H_
#define TF_APPROXGRAD_CC_CUDA_POSITIONS_WEIGHTED_POSITION_H_

#include <cstdint>

namespace tf_approxgrad {

// One kept position of an example and output channel, and its weight.
template <typename Accumulator>
struct WeightedPosition {
  Accumulator weight;
  int32_t position;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_POSITIONS_WEIGHTED_POSITION_H_
