// Interface of the op ApproxRowSampledConv2DBackpropInput: registration and
// documentation.

#include "cc/ops/backprop_shapes.h"
#include "tensorflow/core/framework/op.h"

namespace tf_approxgrad {
namespace {

REGISTER_OP("ApproxRowSampledConv2DBackpropInput")
    .Input("input: T")
    .Input("filter: T")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Input("draws: int64")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID', 'EXPLICIT'}")
    .Attr("explicit_paddings: list(int) = []")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .Attr("dilations: list(int) = [1, 1, 1, 1]")
    .Attr("probability: {'norm', 'product'} = 'norm'")
    .Attr("keep_largest: bool = false")
    .Attr("seed: int = 0")
    .Attr("layer: int >= 0 = 0")
    .Attr("scale: float = 1.0")
    .Attr("mean_over_batch: bool = false")
    .SetShapeFn(RowSampledInputShape)
    .Doc(R"doc(
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
  input.
strides: 1-D of length 4, in the order of `data_format`; 1 along the batch and
  channel axes.
padding: The type of padding algorithm.
explicit_paddings: With padding EXPLICIT, the zeros before and after each axis,
  8 numbers in the order of `data_format`; 0 along the batch and channel axes.
data_format: Order of the axes of the input and of `out_backprop`.
dilations: 1-D of length 4, in the order of `data_format`; 1 along the batch
  and channel axes.
probability: What q is: the norm of `out_backprop` at the row, or its product with
  the norm of the patch of `input`.
keep_largest: Whether to lower the largest q to the limit at which no row would be
  drawn more than once, and `draws` to the number of rows with q > 0.
seed: Any integer.
layer: Index of the layer, less than 2^32.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
)doc");

}  // namespace
}  // namespace tf_approxgrad
