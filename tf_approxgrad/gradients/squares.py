"""Squared norms of what a filter gradient is made of, position by position."""

from __future__ import annotations

import tensorflow as tf

from tf_approxgrad.gradients import exact
from tf_approxgrad.gradients.inputs import GradientInputs


def squares_of_positions(inputs: GradientInputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Squared norms of dY and of the patches at every position, float64 `[N,Ho,Wo]`."""
    of_output, of_input = (
        tf.reduce_sum(
            tf.square(tf.cast(tensor, tf.float64)), inputs.arguments.channel_axis
        )
        for tensor in (inputs.out_backprop, inputs.input)
    )
    # A convolution with ones adds up the squares under the filter.
    arguments = inputs.arguments.channels_last()
    ones = tf.ones(tf.concat([inputs.filter_sizes[:2], [1, 1]], axis=0), of_input.dtype)
    of_patches = exact.convolution(of_input[..., None], ones, arguments)[..., 0]
    return of_output, of_patches
