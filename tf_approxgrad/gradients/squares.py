"""Squared norms of what a filter gradient is made of, position by position."""

from __future__ import annotations

import tensorflow as tf

from tf_approxgrad.gradients import exact, op_library
from tf_approxgrad.gradients.inputs import GradientInputs, may_be_on_gpu
from tf_approxgrad.gradients.xla import context as xla


def squares_of_positions(inputs: GradientInputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Squared norms of dY and of the patches at every position, float64 `[N,Ho,Wo]`."""
    of_output, of_input = (
        square_sums(tensor, inputs.arguments.channel_axis)
        for tensor in (inputs.out_backprop, inputs.input)
    )
    # A convolution with ones adds up the squares under the filter.
    arguments = inputs.arguments.channels_last()
    ones = tf.ones(tf.concat([inputs.filter_sizes[:2], [1, 1]], axis=0), of_input.dtype)
    of_patches = exact.convolution(of_input[..., None], ones, arguments)[..., 0]
    return of_output, of_patches


def square_sums(tensor: tf.Tensor, channel_axis: int) -> tf.Tensor:
    """The sum of the squares over the channels, float64 `[N, H, W]`."""
    if xla.is_compiling() or may_be_on_gpu(tensor):
        wide = tf.cast(tensor, tf.float64)
        return tf.reduce_sum(tf.square(wide), axis=channel_axis)
    return op_library.approx_square_sums(
        input=tensor, data_format="NHWC" if channel_axis == 3 else "NCHW"
    )
