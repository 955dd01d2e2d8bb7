// The shape function of the ops that take the inputs of Conv2DBackpropFilter.

#ifndef TF_APPROXGRAD_CC_OPS_BACKPROP_FILTER_SHAPE_H_
#define TF_APPROXGRAD_CC_OPS_BACKPROP_FILTER_SHAPE_H_

#include "absl/status/status.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_approxgrad {

// Refuses what can't fit together, as far as it is known: input, filter_sizes
// and out_backprop are the inputs 0 to 2, a scalar step may be input 3.
absl::Status BackpropFilterShape(
    tensorflow::shape_inference::InferenceContext* c);

// The same where the inputs 3 and 4 are the scalars step and draws.
absl::Status RowSampledShape(tensorflow::shape_inference::InferenceContext* c);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_OPS_BACKPROP_FILTER_SHAPE_H_
