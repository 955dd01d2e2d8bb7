"""The filter gradient from tiles that are drawn at random.

A tile is 4x4 positions of one example, t = (n*tile_rows + row)*tile_cols + col.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_approxgrad.gradients import exact, fast_exact, op_library
from tf_approxgrad.gradients.conv_arguments import accumulator_dtype
from tf_approxgrad.gradients.inputs import GradientInputs, required_step
from tf_approxgrad.gradients.kernel_choice import WINOGRAD
from tf_approxgrad.gradients.op_inputs import number_to_draw
from tf_approxgrad.gradients.squares import square_sums
from tf_approxgrad.gradients.xla.patches import PatchGeometry
from tf_approxgrad.gradients.xla.philox import uniforms
from tf_approxgrad.gradients.xla.rows import draw_places, lower_largest
from tf_approxgrad.methods import ExactGradient, TileSampledGradient

# Positions of a tile along an axis, as in cc/cpu/winograd/plan.h.
_TILE = 4
# "TILE", XORed into the key's high word: a stream of its own.
_STREAM = 0x54494C45


def filter_gradient(method: TileSampledGradient, inputs: GradientInputs) -> tf.Tensor:
    """The filter gradient by `TileSampledGradient`."""
    shapes = (inputs.input.shape, inputs.out_backprop.shape)
    is_empty = any(shape.num_elements() == 0 for shape in shapes)
    if is_empty or method.share == 1:
        return fast_exact.filter_gradient(ExactGradient(), inputs)
    drawn = _DrawnTiles.draw(method, inputs)
    if fast_exact.kernel_of(ExactGradient(), inputs) != WINOGRAD:
        gradient = exact.filter_gradient(
            tf.cast(inputs.input, accumulator_dtype(inputs.input.dtype)),
            inputs.filter_sizes,
            drawn.weighted(inputs.out_backprop, inputs.arguments.channel_axis),
            inputs.arguments,
        )
        return tf.cast(drawn.checked(gradient), inputs.input.dtype)
    gradient = op_library.approx_drawn_tiles_conv2d_backprop_filter(
        input=fast_exact.for_winograd(inputs.input, inputs.arguments),
        filter_sizes=inputs.filter_sizes,
        out_backprop=fast_exact.for_winograd(inputs.out_backprop, inputs.arguments),
        tiles=tf.cast(drawn.tiles, tf.int32),
        weights=tf.cast(drawn.weights, tf.float32),
        **inputs.arguments.channels_last().for_op(),
    )
    return tf.cast(gradient, inputs.input.dtype)


@dataclasses.dataclass(frozen=True)
class _DrawnTiles:
    """The tiles drawn at a step.

    Attributes:
        tiles: Numbers of the drawn tiles, int64, in ascending order.
        weights: Factors of their parts, float64; 0 at unused places, which come last,
            and NaN if sizes aren't finite.
        sizes: Number of tiles along the axes batch, rows and columns.
        is_finite: Whether the sizes of the tiles are finite.
    """

    tiles: tf.Tensor
    weights: tf.Tensor
    sizes: tf.Tensor
    is_finite: tf.Tensor

    @classmethod
    def draw(cls, method: TileSampledGradient, inputs: GradientInputs) -> _DrawnTiles:
        of_output, of_patches = _tile_squares(inputs)
        product = tf.cast(of_output, tf.float64) * tf.cast(of_patches, tf.float64)
        size = tf.sqrt(tf.reshape(product, [-1]))
        is_finite = tf.math.is_finite(tf.reduce_sum(size))
        sizes = of_output.shape
        count = sizes.num_elements()
        if count is None:
            count = tf.size(size, tf.int64)
            # There may be none, and something must be there to gather.
            size = tf.pad(size, [[0, 1]])
        share = method.share if inputs.share is None else inputs.share
        places = number_to_draw(share, count)
        size = lower_largest(size, places)
        draws = tf.minimum(places, tf.math.count_nonzero(size, dtype=tf.int64))
        total = tf.reduce_sum(size)
        key = method.seed ^ (_STREAM << 32)
        step = required_step(method, inputs)
        # The number of significant bits of a float64.
        uniform = uniforms(tf.constant(0, tf.uint64), inputs.stream, step, key, bits=53)
        tiles = draw_places(size, total, draws, places, uniform)
        last = tf.cast(count, tf.int64) - 1
        is_drawn, tiles = tiles <= last, tf.clip_by_value(tiles, 0, tf.maximum(last, 0))
        weights = total / (tf.cast(draws, tf.float64) * tf.gather(size, tiles))
        weights = tf.where(is_drawn, weights, tf.zeros_like(weights))
        weights = tf.where(is_finite, weights, tf.cast(math.nan, tf.float64))
        return cls(tiles, weights, tf.shape(of_output), is_finite)

    def weighted(self, out_backprop: tf.Tensor, channel_axis: int) -> tf.Tensor:
        """dY, each tile times its weight; tiles that aren't drawn are zero.

        In the accumulators' dtype, as weights are large where X is small.
        """
        count = tf.cast(tf.reduce_prod(self.sizes), tf.int64)
        # There may be no tile, and the unused places must go somewhere.
        of_tiles = tf.scatter_nd(
            self.tiles[:, None], self.weights, tf.maximum(count, 1)[None]
        )
        factors = tf.reshape(of_tiles[:count], self.sizes)
        for axis in (1, 2):
            factors = tf.repeat(factors, _TILE, axis)
        spatial = tf.shape(out_backprop)
        first = 1 if channel_axis == 3 else 2
        factors = factors[:, : spatial[first], : spatial[first + 1]]
        dtype = accumulator_dtype(out_backprop.dtype)
        factors = tf.expand_dims(tf.cast(factors, dtype), channel_axis)
        return tf.cast(out_backprop, dtype) * factors

    def checked(self, gradient: tf.Tensor) -> tf.Tensor:
        """The gradient, or NaN if the sizes of the tiles aren't finite."""
        return tf.where(self.is_finite, gradient, tf.cast(math.nan, gradient.dtype))


def _tile_squares(inputs: GradientInputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums over each tile of the squares of dY and of the patches under it.

    A pixel of X counts as often as patches of the tile have it: along each axis, as
    often as a position of the tile and a tap of the filter meet there.

    Returns:
        Two tensors `[N, tile rows, tile columns]`, float32.
    """
    geometry = PatchGeometry.make(
        inputs.input, inputs.filter_sizes, inputs.out_backprop, inputs.arguments
    )
    channel_axis = inputs.arguments.channel_axis
    of_output, of_input = (
        tf.cast(square_sums(tensor, channel_axis), tf.float32)
        for tensor in (inputs.out_backprop, inputs.input)
    )
    kernel = tf.get_static_value(inputs.filter_sizes, partial=True)
    tiles = [-(-size // _TILE) for size in _sizes(of_output)[1:]]
    counts = [
        _meetings(kernel[axis], geometry.strides[axis], geometry.dilations[axis])
        for axis in (0, 1)
    ]
    before = tf.unstack(tf.cast(tf.convert_to_tensor(geometry.before), tf.int32))
    whole = _Windows([np.ones(_TILE)] * 2, [_TILE] * 2, [0, 0], tiles)
    patches = _Windows(counts, [_TILE * s for s in geometry.strides], before, tiles)
    return whole.sums(of_output), patches.sums(of_input)


def _meetings(taps: int, stride: int, dilation: int) -> np.ndarray:
    """How often a tile's positions and a filter's taps meet, pixel by pixel."""
    positions = np.zeros((_TILE - 1) * stride + 1)
    positions[::stride] = 1
    pixels = np.zeros((taps - 1) * dilation + 1)
    pixels[::dilation] = 1
    return np.convolve(positions, pixels)


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Weighted windows of a map, one for each tile.

    Attributes:
        weights: Weights along the two axes.
        strides: From one window to the next.
        before: Where the first begins, ahead of the map.
        counts: Number of windows.
    """

    weights: Sequence[np.ndarray]
    strides: Sequence[int]
    before: Sequence[int | tf.Tensor]
    counts: Sequence[int | tf.Tensor]

    def sums(self, values: tf.Tensor) -> tf.Tensor:
        """The sums of `[N, H, W]` in the windows; zeros lie outside the map."""
        sizes = _sizes(values)[1:]
        pads = [[0, 0]]
        for weights, stride, before, count, size in zip(
            self.weights, self.strides, self.before, self.counts, sizes, strict=True
        ):
            reach = (count - 1) * stride + len(weights)
            pads.append([before, tf.maximum(reach - before - size, 0)])
        padded = tf.pad(values, pads)[..., None]
        weights = np.outer(*self.weights)[..., None, None]
        found = tf.nn.conv2d(
            padded, tf.constant(weights, tf.float32), list(self.strides), "VALID"
        )
        return found[:, : self.counts[0], : self.counts[1], 0]


def _sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of a tensor, as integers where they are known."""
    found = tf.shape(tensor)
    return [
        found[axis] if size is None else size for axis, size in enumerate(tensor.shape)
    ]
