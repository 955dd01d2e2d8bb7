// The interface of the op that methods find the largest tiles by.

#include "cc/ops/conv_attributes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_approxgrad {
namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status SquareSumsShape(InferenceContext* c) {
  std::string data_format;
  TF_RETURN_IF_ERROR(c->GetAttr("data_format", &data_format));
  ShapeHandle input;
  if (!c->WithRank(c->input(0), 4, &input).ok()) {
    return InvalidArgument("input has the shape ", c->DebugString(c->input(0)),
                           ", but it must have 4 axes");
  }
  const int rows = data_format == "NHWC" ? 1 : 2;
  c->set_output(0, c->MakeShape({c->Dim(input, 0), c->Dim(input, rows),
                                 c->Dim(input, rows + 1)}));
  return absl::OkStatus();
}

REGISTER_OP("ApproxSquareSums")
    .Attr("T: {half, bfloat16, float, double}")
    .Input("input: T")
    .Output("sums: double")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .SetShapeFn(SquareSumsShape)
    .Doc(R"doc(
Computes the sum of the squares over the channels, at every position.

input: 4-D with shape `[batch, height, width, channels]` (NHWC).
sums: 3-D with shape `[batch, height, width]`.
data_format: Order of the axes of the input.
)doc");

}  // namespace
}  // namespace tf_approxgrad
