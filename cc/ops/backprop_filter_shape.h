// The shape function of the ops that compute a filter gradient from the input
// and the gradient of the output.

#ifndef TF_APPROXGRAD_CC_OPS_BACKPROP_FILTER_SHAPE_H_
#define TF_APPROXGRAD_CC_OPS_BACKPROP_FILTER_SHAPE_H_

#include "absl/status/status.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_approxgrad {

// For ops whose first inputs are input, filter_sizes and out_backprop, with the
// attributes of ConvAttributes. Refuses sizes that are known and don't fit.
absl::Status BackpropFilterShape(
    tensorflow::shape_inference::InferenceContext* c);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_OPS_BACKPROP_FILTER_SHAPE_H_
