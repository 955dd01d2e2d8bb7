"""The filter gradient from tiles that are drawn at random.

A tile is 4x4 positions of one example, t = (n*tile_rows + row)*tile_cols + col.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf_approxgrad.gradients import exact, fast_exact, op_library
from tf_approxgrad.gradients.conv_arguments import accumulator_dtype
from tf_approxgrad.gradients.inputs import GradientInputs, drawing_step
from tf_approxgrad.gradients.kernel_choice import WINOGRAD
from tf_approxgrad.gradients.op_inputs import rows_to_draw
from tf_approxgrad.gradients.squares import squares_of_positions
from tf_approxgrad.gradients.xla.philox import uniforms
from tf_approxgrad.gradients.xla.rows import draw_places, lower_largest
from tf_approxgrad.methods import ExactGradient, TileSampledGradient

# Positions of a tile along an axis, as in cc/cpu/winograd/plan.h.
_TILE = 4
# "TILE", XORed into the key's high word: a stream of its own, as in
# cc/common/row_draw.h.
_STREAM = 0x54494C45


def filter_gradient(method: TileSampledGradient, inputs: GradientInputs) -> tf.Tensor:
    """The filter gradient by `TileSampledGradient`."""
    shapes = (inputs.input.shape, inputs.out_backprop.shape)
    is_empty = any(shape.num_elements() == 0 for shape in shapes)
    if is_empty or method.share == 1:
        return fast_exact.filter_gradient(ExactGradient(), inputs)
    if fast_exact.kernel_of(ExactGradient(), inputs) != WINOGRAD:
        return _composed(method, inputs)
    gradient = op_library.approx_tile_sampled_conv2d_backprop_filter(
        input=fast_exact.for_winograd(inputs.input, inputs.arguments),
        filter_sizes=inputs.filter_sizes,
        out_backprop=fast_exact.for_winograd(inputs.out_backprop, inputs.arguments),
        step=drawing_step(method, inputs),
        draws=_tiles_to_draw(method, inputs),
        seed=method.seed,
        layer=inputs.stream,
        **inputs.arguments.channels_last().for_op(),
    )
    return tf.cast(gradient, inputs.input.dtype)


def _tiles_to_draw(method: TileSampledGradient, inputs: GradientInputs) -> tf.Tensor:
    share = method.share if inputs.share is None else inputs.share
    return rows_to_draw(share, inputs.out_backprop, inputs.arguments, _TILE)


def _composed(method: TileSampledGradient, inputs: GradientInputs) -> tf.Tensor:
    """The gradient in TensorFlow's ops: tiles of dY that aren't drawn are zero."""
    factors, is_finite = _tile_factors(method, inputs)
    channel = inputs.arguments.channel_axis
    rows, cols = tf.unstack(
        tf.shape(inputs.out_backprop)[slice(1, 3) if channel == 3 else slice(2, 4)]
    )
    for axis in (1, 2):
        factors = tf.repeat(factors, _TILE, axis)
    # Factors are large where X is small, too large for half.
    dtype = accumulator_dtype(inputs.input.dtype)
    factors = tf.expand_dims(tf.cast(factors[:, :rows, :cols], dtype), channel)
    gradient = exact.filter_gradient(
        tf.cast(inputs.input, dtype),
        inputs.filter_sizes,
        tf.cast(inputs.out_backprop, dtype) * factors,
        inputs.arguments,
    )
    gradient = tf.where(is_finite, gradient, tf.cast(math.nan, dtype))
    return tf.cast(gradient, inputs.input.dtype)


def _tile_factors(
    method: TileSampledGradient, inputs: GradientInputs
) -> tuple[tf.Tensor, tf.Tensor]:
    """The factors of the tiles of dY.

    Returns:
        A float64 tensor `[N, tile rows, tile columns]`, 0 where a tile isn't drawn, and
        whether the sizes of the tiles are finite.
    """
    of_output, of_patches = map(_tile_sums, squares_of_positions(inputs))
    size = tf.sqrt(tf.reshape(of_output * of_patches, [-1]))
    is_finite = tf.math.is_finite(tf.reduce_sum(size))
    places = _tiles_to_draw(method, inputs)
    size = lower_largest(size, places)
    draws = tf.minimum(places, tf.math.count_nonzero(size, dtype=tf.int64))
    total = tf.reduce_sum(size)
    key = method.seed ^ (_STREAM << 32)
    step = drawing_step(method, inputs)
    # The number of significant bits of a float64.
    uniform = uniforms(tf.constant(0, tf.uint64), inputs.stream, step, key, bits=53)
    tiles = draw_places(size, total, draws, places, uniform)
    # Unused places hold the number of tiles.
    times = tf.scatter_nd(
        tiles[:, None], tf.ones_like(tiles), tf.size(size, tf.int64)[None] + 1
    )[:-1]
    factors = tf.math.divide_no_nan(
        tf.cast(times, tf.float64) * total, tf.cast(draws, tf.float64) * size
    )
    return tf.reshape(factors, tf.shape(of_output)), is_finite


def _tile_sums(values: tf.Tensor) -> tf.Tensor:
    """The sums of `[N, Ho, Wo]` over each tile, `[N, tile rows, tile columns]`."""
    examples, rows, cols = tf.unstack(tf.shape(values))
    values = tf.pad(values, [[0, 0], [0, -rows % _TILE], [0, -cols % _TILE]])
    rows, cols = -(-rows // _TILE), -(-cols // _TILE)
    cut = tf.reshape(values, [examples, rows, _TILE, cols, _TILE])
    return tf.reduce_sum(cut, axis=[2, 4])
