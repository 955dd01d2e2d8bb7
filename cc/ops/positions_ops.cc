// Interfaces of the ops that keep positions of dY, for max and sampled:
// registration and documentation.

#include <string>

#include "cc/ops/backprop_shapes.h"
#include "cc/ops/register_conv_op.h"

namespace tf_approxgrad {
namespace {

// The attributes of both methods.
#define REGISTER_POSITIONS_OP(name)    \
  TF_APPROXGRAD_REGISTER_CONV_OP(name) \
      .Attr("k: int >= 1 = 1")         \
      .Attr("k_share: float = 0.0")    \
      .Attr("scale: float = 1.0")      \
      .Attr("mean_over_batch: bool = false")

REGISTER_POSITIONS_OP("ApproxConv2DBackpropFilter")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Output("output: T")
    .SetShapeFn(BackpropFilterShape)
    .Doc(std::string(R"doc(
Approximates the gradients of a convolution with respect to the filter.

Of each example and output channel, the `k` positions where `out_backprop` is
largest in magnitude are kept, the lowest flattened position first on ties, and
the gradient is the weighted sum of the input patches at these positions. With
r the sum of the channel's `out_backprop` less the sum of the kept values, the
weight of a kept position p is `out_backprop[p] + r / k`: the channel's sum is
preserved, and with `k` at least the number of positions the result is that of
Conv2DBackpropFilter. Positions outside the input count as zero. A channel of
`out_backprop` that holds a NaN or an infinity gives a gradient that is not
finite. Sums are accumulated in float32, or in float64 for double. The result
does not depend on the number of threads.

For k = 1 this is Algorithm 1 of Wang and Nelaturu, Accelerated CNN Training
Through Gradient Approximation, 2019.

input: 4-D with shape `[batch, in_height, in_width, in_channels]` (NHWC).
filter_sizes: 1-D with the shape of the filter,
  `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
output: 4-D with shape `filter_sizes`. Approximate gradients with respect to
  the filter.)doc") +
         kConvOpDoc + R"doc(
k: Positions kept for each example and output channel.
k_share: If above 0, it takes the place of `k`: the share of the positions that
  are kept, less than 1. The nearest whole number of them is, but 1 at least.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well, as the
  paper does.
)doc");

REGISTER_POSITIONS_OP("ApproxSampledConv2DBackpropFilter")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Output("output: T")
    .Attr("seed: int = 0")
    .Attr("layer: int >= 0 = 0")
    .SetShapeFn(BackpropFilterShape)
    .Doc(std::string(R"doc(
Estimates the gradients of a convolution with respect to the filter, unbiased.

Of each example and output channel, `k` positions are drawn in proportion to the
magnitude of `out_backprop`, and the gradient is the weighted sum of the input
patches at these positions. With S the sum of the channel's magnitudes, a draw
has the weight S / k and the sign of `out_backprop` there, so that the expected
result, with `scale` 1, is that of Conv2DBackpropFilter. With `k` at least the
number of positions the result itself is that. Positions outside the input count
as zero. A channel of `out_backprop` that holds a NaN or an infinity gives a
gradient that is not finite. Sums are accumulated in float32, or in float64 for
double. The result does not depend on the number of threads.

The draw is systematic: with C the running sum of the magnitudes and u a uniform
number from [0, 1), position p is drawn
`floor(k * C[p] / S + u) - floor(k * C[p-1] / S + u)` times. u comes from
Philox4x32-10 and is a pure function of `seed`, `layer`, `step`, the example and
the output channel, the same on every processor.

input: 4-D with shape `[batch, in_height, in_width, in_channels]` (NHWC).
filter_sizes: 1-D with the shape of the filter,
  `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
step: The training step, from 0.
output: 4-D with shape `filter_sizes`. Approximate gradients with respect to
  the filter.)doc") +
         kConvOpDoc + R"doc(
k: Positions drawn for each example and output channel.
k_share: If above 0, it takes the place of `k`: the share of the positions that
  are drawn, less than 1. The nearest whole number of them is, but 1 at least.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
seed: Any integer.
layer: Index of the layer, less than 2^32.
)doc");

REGISTER_POSITIONS_OP("ApproxConv2DBackpropInput")
    .Input("input_sizes: int32")
    .Input("filter: T")
    .Input("out_backprop: T")
    .Output("output: T")
    .SetShapeFn(BackpropInputShape)
    .Doc(std::string(R"doc(
Approximates the gradients of a convolution with respect to the input.

Of each example and output channel, `k` positions of `out_backprop` are kept, those
that ApproxConv2DBackpropFilter keeps and with the same weights; the result is that
of Conv2DBackpropInput for an `out_backprop` that has these weights there and is zero
elsewhere. A channel of `out_backprop` that holds a NaN or an infinity gives its
example gradients that are not finite. Sums are accumulated in float32, or in float64
for double. The result does not depend on the number of threads.

input_sizes: 1-D with the shape of the convolution's input,
  `[batch, in_height, in_width, in_channels]` (NHWC).
filter: 4-D with shape `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
output: 4-D with shape `input_sizes`. Approximate gradients with respect to the
  input.)doc") +
         kConvOpDoc + R"doc(
k: Positions kept for each example and output channel.
k_share: If above 0, it takes the place of `k`: the share of the positions that
  are kept, less than 1. The nearest whole number of them is, but 1 at least.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
)doc");

REGISTER_POSITIONS_OP("ApproxSampledConv2DBackpropInput")
    .Input("input_sizes: int32")
    .Input("filter: T")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Output("output: T")
    .Attr("seed: int = 0")
    .Attr("layer: int >= 0 = 0")
    .SetShapeFn(BackpropInputShape)
    .Doc(std::string(R"doc(
Estimates the gradients of a convolution with respect to the input, unbiased.

Of each example and output channel, `k` positions of `out_backprop` are drawn, those
that ApproxSampledConv2DBackpropFilter draws with the same `seed`, `layer` and
`step`, and with the same weights; the result is that of Conv2DBackpropInput for an
`out_backprop` that has these weights there and is zero elsewhere. Its mean, with
`scale` 1, is that of Conv2DBackpropInput. A channel of `out_backprop` that holds a
NaN or an infinity gives its example gradients that are not finite. Sums are
accumulated in float32, or in float64 for double. The result does not depend on the
number of threads.

input_sizes: 1-D with the shape of the convolution's input,
  `[batch, in_height, in_width, in_channels]` (NHWC).
filter: 4-D with shape `[filter_height, filter_width, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`
  (NHWC). Gradients with respect to the output of the convolution.
step: The training step, from 0.
output: 4-D with shape `input_sizes`. Approximate gradients with respect to the
  input.)doc") +
         kConvOpDoc + R"doc(
k: Positions drawn for each example and output channel.
k_share: If above 0, it takes the place of `k`: the share of the positions that
  are drawn, less than 1. The nearest whole number of them is, but 1 at least.
scale: Factor of the result.
mean_over_batch: Whether to divide the result by the batch size as well.
seed: Any integer.
layer: Index of the layer, less than 2^32.
)doc");

}  // namespace
}  // namespace tf_approxgrad
