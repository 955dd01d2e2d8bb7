// Which positions of the output gradient a method keeps of each example n and
// output channel co, and with what weights.
//
// kLargest, the max method: the k positions of largest |dY| (the lowest
// flattened position first on ties). With r the sum of the channel's dY less
// the sum of the kept ones, a kept position p gets the weight dY[p] + r / k, so
// that the channel's sum survives: for k = 1 the weight is the sum itself
// (Algorithm 1 of Wang and Nelaturu, 2019).
//
// kSampled, the sampled method: k positions drawn in proportion to |dY|; see
// systematic_sampling.h.
//
// For k = Ho * Wo both keep every position with the weight dY[p]: the dense
// gradient. A channel that holds a NaN or an infinity gets weights that are not
// finite, because its sum isn't.

#ifndef TF_APPROXGRAD_CC_COMMON_SELECTION_H_
#define TF_APPROXGRAD_CC_COMMON_SELECTION_H_

#include <cstdint>

#include "cc/common/random_stream.h"

namespace tf_approxgrad {

enum class SelectionMethod { kLargest, kSampled };

struct Selection {
  SelectionMethod method = SelectionMethod::kLargest;
  // In [1, Ho * Wo].
  int64_t k = 1;
  // Of kSampled.
  RandomStream stream;
};

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_COMMON_SELECTION_H_
