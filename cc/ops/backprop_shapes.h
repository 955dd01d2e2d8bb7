// The shape functions of the ops that take the inputs of Conv2DBackpropFilter
// or of Conv2DBackpropInput.

#ifndef TF_APPROXGRAD_CC_OPS_BACKPROP_SHAPES_H_
#define TF_APPROXGRAD_CC_OPS_BACKPROP_SHAPES_H_

#include "absl/status/status.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_approxgrad {

// All refuse what can't fit together, as far as it is known: the inputs 0 to 2
// are those of TensorFlow's op, and a scalar step may be input 3.

// Of input, filter_sizes and out_backprop.
absl::Status BackpropFilterShape(
    tensorflow::shape_inference::InferenceContext* c);

// The same, whatever input 3 is.
absl::Status ShapeOfFilterBackprop(
    tensorflow::shape_inference::InferenceContext* c);

// Of input_sizes, filter and out_backprop.
absl::Status BackpropInputShape(
    tensorflow::shape_inference::InferenceContext* c);

// The same for methods that draw rows or tiles, whose step and draws are
// scalars, and which take the input itself for its sizes.
absl::Status DrawnFilterShape(tensorflow::shape_inference::InferenceContext* c);
absl::Status DrawnInputShape(tensorflow::shape_inference::InferenceContext* c);

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_OPS_BACKPROP_SHAPES_H_
