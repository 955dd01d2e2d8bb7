// Interface of the op ApproxRowSampledConv2DBackpropFilter: registration,
// documentation and shape function.

#include "cc/ops/backprop_filter_shape.h"
#include "tensorflow/core/framework/op.h"

namespace tf_approxgrad {
namespace {

REGISTER_OP("ApproxRowSampledConv2DBackpropFilter")
    .Input("input: T")
    .Input("filter_sizes: int32")
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
    .SetShapeFn(RowSampledShape)
    .Doc(R"doc(
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
  filter.
strides: 1-D of length 4, in the order of `data_format`; 1 along the batch and
  channel axes.
padding: The type of padding algorithm.
explicit_paddings: With padding EXPLICIT, the zeros before and after each axis,
  8 numbers in the order of `data_format`; 0 along the batch and channel axes.
data_format: Order of the axes of `input` and `out_backprop`.
dilations: 1-D of length 4, in the order of `data_format`; 1 along the batch
  and channel axes.
probability: What q is: the norm of `out_backprop` at the row, or its product with
  the norm of the patch.
keep_largest: Whether to lower the largest q to the limit at which no row would be
  drawn more than once, and `draws` to the number of rows with q > 0.
seed: Any integer.
layer: Index of the layer, less than 2^32.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
)doc");

}  // namespace
}  // namespace tf_approxgrad
