// The attributes that all ops on the tensors of a convolution have, and their
// documentation.

#ifndef TF_APPROXGRAD_CC_OPS_REGISTER_CONV_OP_H_
#define TF_APPROXGRAD_CC_OPS_REGISTER_CONV_OP_H_

#include "tensorflow/core/framework/op.h"

// REGISTER_OP with the attributes of TensorFlow's Conv2DBackpropFilter, for
// some element types, or for all.
#define TF_APPROXGRAD_REGISTER_CONV_OP_OF(name, types) \
  REGISTER_OP(name)                                    \
      .Attr("T: {" types "}")                          \
      .Attr("strides: list(int)")                      \
      .Attr("padding: {'SAME', 'VALID', 'EXPLICIT'}")  \
      .Attr("explicit_paddings: list(int) = []")       \
      .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")  \
      .Attr("dilations: list(int) = [1, 1, 1, 1]")
#define TF_APPROXGRAD_REGISTER_CONV_OP(name) \
  TF_APPROXGRAD_REGISTER_CONV_OP_OF(name, "half, bfloat16, float, double")

namespace tf_approxgrad {

inline constexpr char kConvOpDoc[] = R"doc(
strides: 1-D of length 4, in the order of `data_format`; 1 along the batch and
  channel axes.
padding: The type of padding algorithm.
explicit_paddings: With padding EXPLICIT, the zeros before and after each axis,
  8 numbers in the order of `data_format`; 0 along the batch and channel axes.
data_format: Order of the axes of the input and of `out_backprop`.
dilations: 1-D of length 4, in the order of `data_format`; 1 along the batch
  and channel axes.)doc";

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_OPS_REGISTER_CONV_OP_H_
