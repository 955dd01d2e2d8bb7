// Interfaces of the ops of the row-sampled method: registration and
// documentation.

#include <string>
#include <vector>

#include "cc/ops/backprop_shapes.h"
#include "cc/ops/conv_attributes.h"
#include "cc/ops/register_conv_op.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_approxgrad {
namespace {

// The attributes of the draw.
#define REGISTER_ROWS_OP(name)                           \
  TF_APPROXGRAD_REGISTER_CONV_OP(name)                   \
      .Attr("probability: {'norm', 'product'} = 'norm'") \
      .Attr("keep_largest: bool = false")                \
      .Attr("seed: int = 0")                             \
      .Attr("layer: int >= 0 = 0")

REGISTER_ROWS_OP("ApproxRowSampledConv2DBackpropFilter")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Input("draws: int64")
    .Output("output: T")
    .Attr("scale: float = 1.0")
    .Attr("mean_over_batch: bool = false")
    .SetShapeFn(DrawnFilterShape)
    .Doc(std::string(R"doc(
Estimates the gradients of a convolution with respect to the filter from a random
sample of rows.

A row is one position of one example: its vector of `out_backprop` over the output
channels and the patch of `input` under the filter. With q the norm of that vector,
or its product with the norm of the patch, and Q the sum of q over all rows, `draws`
rows are drawn with the probabilities q / Q, and the gradient is the sum over them of
`Q / (draws * q)` times the outer product of patch and vector. Its mean is the result
of Conv2DBackpropFilter. Rows with q = 0 are never drawn. If Q isn't finite, all
elements are NaN.

The draw is systematic: with C the running sum of q in the order of the rows, examples
first, and u one number in [0, 1), a row is drawn as often as
`floor(draws * C / Q + u)` grows there. u is a pure function of `seed`, `layer` and
`step` (Philox4x32-10). Sums of q are made in float64; the result is accumulated in
float32, or in float64 for double, and does not depend on the number of threads.

input: 4-D with shape `[batch, in_height, in_width, in_channels]` (NHWC).
filter_sizes: 1-D with the shape of the filter,
  `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
step: The training step, from 0.
draws: Rows to draw, from 1 to `batch * out_height * out_width`.
output: 4-D with shape `filter_sizes`. Estimated gradients with respect to the
  filter.)doc") +
         kConvOpDoc + R"doc(
probability: What q is: the norm of `out_backprop` at the row, or its product with
  the norm of the patch.
keep_largest: Whether to lower the largest q to the limit at which no row would be
  drawn more than once, and `draws` to the number of rows with q > 0.
seed: Any integer.
layer: Index of the layer, less than 2^32.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
)doc");

REGISTER_ROWS_OP("ApproxRowSampledConv2DBackpropInput")
    .Input("input: T")
    .Input("filter: T")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Input("draws: int64")
    .Output("output: T")
    .Attr("scale: float = 1.0")
    .Attr("mean_over_batch: bool = false")
    .SetShapeFn(DrawnInputShape)
    .Doc(std::string(R"doc(
Estimates the gradients of a convolution with respect to the input from a random
sample of rows.

A row is one position of one example. Those are drawn that
ApproxRowSampledConv2DBackpropFilter draws with the same inputs and attributes, and
with the same weights `Q / (draws * q)`; the result is that of Conv2DBackpropInput for
an `out_backprop` whose rows are multiplied by their weights, those that aren't drawn
by zero. Its mean, with `scale` 1, is that of Conv2DBackpropInput. If Q isn't finite,
all elements are NaN. Sums are accumulated in float32, or in float64 for double, and
the result does not depend on the number of threads.

input: 4-D with shape `[batch, in_height, in_width, in_channels]` (NHWC). Its
  values matter for the probability "product" alone.
filter: 4-D with shape `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
step: The training step, from 0.
draws: Rows to draw, from 1 to `batch * out_height * out_width`.
output: 4-D with the shape of `input`. Estimated gradients with respect to the
  input.)doc") +
         kConvOpDoc + R"doc(
probability: What q is: the norm of `out_backprop` at the row, or its product with
  the norm of the patch of `input`.
keep_largest: Whether to lower the largest q to the limit at which no row would be
  drawn more than once, and `draws` to the number of rows with q > 0.
seed: Any integer.
layer: Index of the layer, less than 2^32.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
)doc");

using tensorflow::DataType;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status SampleRowsShape(InferenceContext* c) {
  DataType type, accumulator;
  TF_RETURN_IF_ERROR(c->GetAttr("T", &type));
  TF_RETURN_IF_ERROR(c->GetAttr("accumulator", &accumulator));
  TF_RETURN_IF_ERROR(CheckAccumulator(type, accumulator));
  TF_RETURN_IF_ERROR(DrawnFilterShape(c));
  const ShapeHandle filter = c->output(0);
  DimensionHandle draws, patch;
  TF_RETURN_IF_ERROR(c->MakeDimForScalarInput(4, &draws));
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(filter, 0), c->Dim(filter, 1), &patch));
  TF_RETURN_IF_ERROR(c->Multiply(patch, c->Dim(filter, 2), &patch));
  const DimensionHandle out_depth = c->Dim(filter, 3);
  c->set_output(0, c->MakeShape({draws, patch}));
  c->set_output(1, c->MakeShape({draws, out_depth}));
  return absl::OkStatus();
}

REGISTER_ROWS_OP("ApproxSampleRows")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Input("draws: int64")
    .Output("patches: accumulator")
    .Output("rows: accumulator")
    .Attr("accumulator: {float, double}")
    .SetShapeFn(SampleRowsShape)
    .Doc(std::string(R"doc(
Draws rows and gathers them, for the product that ApproxRowSampledConv2DBackpropFilter
makes of them.

The same rows are drawn as by ApproxRowSampledConv2DBackpropFilter, on every device, and
`patches`, transposed, times `rows` is its result, in another order of additions. A
row that is drawn twice is there twice. Where fewer than `draws` rows can be drawn,
the rest is zero. If the sum of the sizes isn't finite, all of `rows` are NaN.

input: 4-D with shape `[batch, in_height, in_width, in_channels]` (NHWC).
filter_sizes: 1-D with the shape of the filter,
  `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
step: The training step, from 0.
draws: Rows to draw, from 1 to `batch * out_height * out_width`.
patches: 2-D with shape `[draws, filter_height * filter_width * in_channels]`. What lies
  under the filter at each drawn row, zero outside of `input`.
rows: 2-D with shape `[draws, out_channels]`. The drawn rows of `out_backprop`,
  weighted.
accumulator: double where T is double, else float.)doc") +
         kConvOpDoc + R"doc(
probability: What a row's size is: the norm of `out_backprop` there, or its product
  with the norm of the patch.
keep_largest: Whether to lower the largest sizes to the limit at which no row would be
  drawn more than once, and `draws` to the number of rows whose size isn't 0.
seed: Any integer.
layer: Index of the layer, less than 2^32.
)doc");

absl::Status RowVariancesShape(InferenceContext* c) {
  std::vector<std::string> probabilities;
  TF_RETURN_IF_ERROR(c->GetAttr("probabilities", &probabilities));
  TF_RETURN_IF_ERROR(ShapeOfFilterBackprop(c));
  c->set_output(0, c->Vector(static_cast<int64_t>(probabilities.size())));
  return absl::OkStatus();
}

TF_APPROXGRAD_REGISTER_CONV_OP("ApproxRowVariances")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Input("draws: int64")
    .Output("variances: double")
    .Attr("probabilities: list({'norm', 'product'})")
    .Attr("keep_largest: list(bool)")
    .SetShapeFn(RowVariancesShape)
    .Doc(std::string(R"doc(
Computes the variance of the results of ApproxRowSampledConv2DBackpropFilter, for many
ways to draw in one reading of `input` and `out_backprop`.

Rows count as drawn independently: one with the expected number of draws
`e = draws * q / Q` is drawn floor(e) times or once more, with variance f * (1 - f), f
the fraction of e. So a variance is the sum over all rows of
`f * (1 - f) / e^2 * |vector|^2 * |patch|^2`. Where a norm isn't finite, it is NaN. Sums
are made in float64 and don't depend on the number of threads.

input: 4-D with shape `[batch, in_height, in_width, in_channels]` (NHWC).
filter_sizes: 1-D with the shape of the filter,
  `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
draws: 1-D, the rows to draw in each way, from 1 to `batch * out_height * out_width`.
variances: 1-D, the variance for each way, summed over the elements of the gradient.)doc") +
         kConvOpDoc + R"doc(
probabilities: What q is, for each way: the norm of `out_backprop` at the row, or its
  product with the norm of the patch.
keep_largest: Whether to lower the largest q, for each way.
)doc");

}  // namespace
}  // namespace tf_approxgrad
