// Interface of the op ApproxRandomFilterGradient: registration, documentation
// and shape function.

#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_approxgrad {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status ApproxRandomFilterGradientShape(InferenceContext* c) {
  ShapeHandle unused;
  if (!c->WithRank(c->input(0), 1, &unused).ok() ||
      !c->WithRank(c->input(2), 0, &unused).ok()) {
    return InvalidArgument("filter_sizes and step have the shapes ",
                           c->DebugString(c->input(0)), " and ",
                           c->DebugString(c->input(2)),
                           ", but they must have 1 axis and none");
  }
  if (!c->WithRank(c->input(1), 4, &unused).ok()) {
    return InvalidArgument("out_backprop has the shape ",
                           c->DebugString(c->input(1)),
                           ", but it must have 4 axes");
  }
  const DimensionHandle length = c->Dim(c->input(0), 0);
  if (c->ValueKnown(length)) {
    TF_RETURN_IF_ERROR(CheckEqual("the length of filter_sizes",
                                  c->Value(length), "the number of its axes",
                                  4));
  }
  ShapeHandle filter;
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(0, &filter));
  TF_RETURN_IF_ERROR(c->WithRank(filter, 4, &filter));
  c->set_output(0, filter);
  return absl::OkStatus();
}

REGISTER_OP("ApproxRandomFilterGradient")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("seed: int = 0")
    .Attr("layer: int >= 0 = 0")
    .Attr("stddev: float = 1.0")
    .Attr("mean_over_batch: bool = false")
    .SetShapeFn(ApproxRandomFilterGradientShape)
    .Doc(R"doc(
Draws a filter gradient from a normal distribution of mean 0.

The numbers come from Philox4x32-10 and are a pure function of `seed`, `layer`,
`step` and their place, the same for any number of threads and any processor.
They are made in float32 and then converted, for double as well.

This is the random gradient of Wang and Nelaturu, Accelerated CNN Training
Through Gradient Approximation, 2019.

filter_sizes: 1-D with the shape of the filter,
  `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with the batch size along the first axis. Gradients with respect
  to the output of the convolution; the values aren't read.
step: The training step, from 0.
output: 4-D with shape `filter_sizes`.
seed: Any integer.
layer: Index of the layer, less than 2^32.
stddev: Standard deviation, at least 0.
mean_over_batch: Whether to divide the deviation by the batch size as well, as the
  paper does.
)doc");

}  // namespace
}  // namespace tf_approxgrad
