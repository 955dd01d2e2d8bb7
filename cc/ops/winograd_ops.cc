// Interfaces of the ops that compute exact gradients by Winograd's algorithm:
// registration and documentation.

#include <string>

#include "cc/ops/backprop_shapes.h"
#include "cc/ops/register_conv_op.h"

namespace tf_approxgrad {
namespace {

TF_APPROXGRAD_REGISTER_CONV_OP_OF("ApproxWinogradConv2DBackpropFilter", "float")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Output("output: T")
    .SetShapeFn(BackpropFilterShape)
    .Doc(std::string(R"doc(
Computes the gradients of a convolution with respect to the filter by Winograd's
algorithm, with 36 multiplications in place of 144.

The result is that of Conv2DBackpropFilter up to rounding. The filter must be 3x3,
strides and dilations 1, and `data_format` NHWC. An element that isn't finite in
Conv2DBackpropFilter's result isn't finite here. The result does not depend on the
number of threads.

The algorithm is F(3x3, 4x4) of Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks, 2016, at the points 0, 2/3, -2/3, 3/2, -3/2 and infinity.

input: 4-D with shape `[batch, in_height, in_width, in_channels]`.
filter_sizes: 1-D with the shape of the filter, `[3, 3, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`.
  Gradients with respect to the output of the convolution.
output: 4-D with shape `filter_sizes`. Gradients with respect to the filter.)doc") +
         kConvOpDoc + "\n");

TF_APPROXGRAD_REGISTER_CONV_OP_OF("ApproxTileSampledConv2DBackpropFilter",
                                  "float")
    .Input("input: T")
    .Input("filter_sizes: int32")
    .Input("out_backprop: T")
    .Input("step: int64")
    .Input("draws: int64")
    .Output("output: T")
    .Attr("seed: int = 0")
    .Attr("layer: int >= 0 = 0")
    .SetShapeFn(DrawnFilterShape)
    .Doc(std::string(R"doc(
Estimates the gradients of a convolution with respect to the filter from a random
sample of tiles, by Winograd's algorithm.

A tile is 4x4 positions of one example, fewer at the ends of rows and columns. With q
the norm of `out_backprop` in the tile times the norm of the patches of `input` there,
lowered to the limit at which no tile would be drawn more than once, and Q the sum of
q over all tiles, `draws` tiles are drawn with the probabilities q / Q, as many as
have q > 0 at most. The result is that of ApproxWinogradConv2DBackpropFilter for an
`out_backprop` whose drawn tiles are multiplied by `Q / (draws * q)`, and whose other
tiles are zero. Its mean is the result of Conv2DBackpropFilter. If Q isn't finite, all
elements are NaN.

The draw is systematic, as that of ApproxRowSampledConv2DBackpropFilter, from a pure
function of `seed`, `layer` and `step` (Philox4x32-10). Sums of q are made in float64,
and the result does not depend on the number of threads.

input: 4-D with shape `[batch, in_height, in_width, in_channels]`.
filter_sizes: 1-D with the shape of the filter, `[3, 3, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`.
  Gradients with respect to the output of the convolution.
step: The training step, from 0.
draws: Tiles to draw, from 1 to the number of tiles.
output: 4-D with shape `filter_sizes`. Estimated gradients with respect to the
  filter.)doc") +
         kConvOpDoc + R"doc(
seed: Any integer.
layer: Index of the layer, less than 2^32.
)doc");

TF_APPROXGRAD_REGISTER_CONV_OP_OF("ApproxWinogradConv2DBackpropInput", "float")
    .Input("input_sizes: int32")
    .Input("filter: T")
    .Input("out_backprop: T")
    .Output("output: T")
    .SetShapeFn(BackpropInputShape)
    .Doc(std::string(R"doc(
Computes the gradients of a convolution with respect to the input by Winograd's
algorithm, with 36 multiplications in place of 144.

The result is that of Conv2DBackpropInput up to rounding. The filter must be 3x3,
strides and dilations 1, and `data_format` NHWC. An element that isn't finite in
Conv2DBackpropInput's result isn't finite here. The result does not depend on the
number of threads.

The algorithm is F(4x4, 3x3) of Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks, 2016, at the points 0, 2/3, -2/3, 3/2, -3/2 and infinity.

input_sizes: 1-D with the shape of the convolution's input,
  `[batch, in_height, in_width, in_channels]`.
filter: 4-D with shape `[3, 3, in_channels, out_channels]`.
out_backprop: 4-D with shape `[batch, out_height, out_width, out_channels]`.
  Gradients with respect to the output of the convolution.
output: 4-D with shape `input_sizes`. Gradients with respect to the input.)doc") +
         kConvOpDoc + "\n");

}  // namespace
}  // namespace tf_approxgrad
