"""The row-sampled gradients in TensorFlow's ops, which XLA can compile.

A row is one position of one example, r = (n*Ho + row)*Wo + col. The draw is computed in
float64, as in the kernel, with sums in another order, so that draws differ only where
rounding crosses a boundary, which is rare.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from tf_approxgrad.gradients.conv_arguments import ConvArguments, accumulator_dtype
from tf_approxgrad.gradients.op_inputs import rows_to_draw
from tf_approxgrad.gradients.xla.patches import PatchGeometry
from tf_approxgrad.gradients.xla.philox import uniforms
from tf_approxgrad.methods import RowSampledGradient

# "ROWS", XORed into the key's high word: a stream of its own, as in
# cc/common/row_draw.h.
_STREAM = 0x524F5753
# Number of times the limit of q is lowered, as in cc/common/row_draw.h.
_LIMIT_PASSES = 8


def row_sampled_filter_gradient(
    input: tf.Tensor,
    filter_sizes: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    method: RowSampledGradient,
    step: tf.Tensor,
    layer: int,
) -> tf.Tensor:
    """The filter gradient of the drawn rows with their weights, before scaling.

    It is one matrix product of the drawn rows of `out_backprop` and their patches.

    Returns:
        A tensor of the shape `filter_sizes`, in the accumulators' dtype.
    """
    dtype = accumulator_dtype(input.dtype)
    if input.shape.num_elements() == 0 or out_backprop.shape.num_elements() == 0:
        return tf.zeros(filter_sizes, dtype)
    rows = _DrawnRows.draw(
        input, filter_sizes, out_backprop, arguments, method, step, layer
    )
    patches = tf.cast(rows.geometry.gather(rows.pixels, rows.places), dtype)
    patches = tf.reshape(
        patches, [tf.shape(rows.places)[0], tf.reduce_prod(filter_sizes[:3])]
    )
    gradient = tf.matmul(patches, rows.weighted, transpose_a=True)
    return rows.checked(tf.reshape(gradient, filter_sizes))


def row_sampled_input_gradient(
    input: tf.Tensor,
    filters: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    method: RowSampledGradient,
    step: tf.Tensor,
    layer: int,
) -> tf.Tensor:
    """The input gradient of the drawn rows with their weights, before scaling.

    One matrix product of the drawn rows of `out_backprop` and the filters gives a
    patch for each row. The result is the sum of the patches.

    Returns:
        A tensor of the shape of `input`, in the accumulators' dtype.
    """
    dtype = accumulator_dtype(input.dtype)
    if input.shape.num_elements() == 0 or out_backprop.shape.num_elements() == 0:
        return tf.zeros(tf.shape(input), dtype)
    sizes = tf.shape(filters)
    rows = _DrawnRows.draw(input, sizes, out_backprop, arguments, method, step, layer)
    matrix = tf.reshape(tf.cast(filters, dtype), [-1, sizes[3]])
    patches = tf.matmul(rows.weighted, matrix, transpose_b=True)
    patches = tf.reshape(patches, [-1, sizes[0], sizes[1], sizes[2]])
    gradient = rows.geometry.scatter(patches, rows.places)
    if arguments.channel_axis == 1:
        gradient = tf.transpose(gradient, [0, 3, 1, 2])
    return rows.checked(tf.ensure_shape(gradient, input.shape))


@dataclasses.dataclass(frozen=True)
class _DrawnRows:
    """The rows drawn at a step.

    Attributes:
        geometry: Geometry of the rows' patches.
        pixels: The input as `[N*H*W, Ci]`.
        places: Drawn rows in order, each as often as it is drawn. Unused places come
            last and hold the number of rows.
        weighted: dY of these rows times their weights, `[places, Co]`, in the
            accumulators' dtype; zero at unused places.
        is_finite: Whether the probabilities are finite.
    """

    geometry: PatchGeometry
    pixels: tf.Tensor
    places: tf.Tensor
    weighted: tf.Tensor
    is_finite: tf.Tensor

    @classmethod
    def draw(
        cls,
        input: tf.Tensor,
        filter_sizes: tf.Tensor,
        out_backprop: tf.Tensor,
        arguments: ConvArguments,
        method: RowSampledGradient,
        step: tf.Tensor,
        layer: int,
    ) -> _DrawnRows:
        most_draws = rows_to_draw(method.share, out_backprop, arguments)
        geometry = PatchGeometry.make(input, filter_sizes, out_backprop, arguments)
        dtype = accumulator_dtype(input.dtype)
        if arguments.channel_axis == 1:
            input = tf.transpose(input, [0, 2, 3, 1])
            out_backprop = tf.transpose(out_backprop, [0, 2, 3, 1])
        pixels = tf.reshape(input, [-1, tf.shape(input)[3]])
        rows = tf.reshape(out_backprop, [-1, tf.shape(out_backprop)[3]])
        count = tf.shape(rows, tf.int64)[0]

        size = tf.sqrt(_square_sums(rows))
        if method.probability == "product":
            size *= tf.sqrt(_patch_squares(pixels, geometry, count))
        is_finite = tf.math.is_finite(tf.reduce_sum(size))
        draws = most_draws
        if method.keep_largest:
            size = lower_largest(size, draws)
            draws = tf.minimum(draws, tf.math.count_nonzero(size, dtype=tf.int64))
        total = tf.reduce_sum(size)
        key = method.seed ^ (_STREAM << 32)
        # The number of significant bits of a float64.
        uniform = uniforms(tf.constant(0, tf.uint64), layer, step, key, bits=53)
        places = draw_places(size, total, draws, most_draws, uniform)

        is_row = places < count
        drawn = tf.minimum(places, count - 1)
        weight = total / (tf.cast(draws, tf.float64) * tf.gather(size, drawn))
        weight = tf.where(is_row, weight, tf.zeros_like(weight))
        weighted = tf.cast(tf.gather(rows, drawn), tf.float64) * weight[:, None]
        return cls(geometry, pixels, places, tf.cast(weighted, dtype), is_finite)

    def checked(self, gradient: tf.Tensor) -> tf.Tensor:
        """The gradient, or NaN if the probabilities of the rows aren't finite."""
        return tf.where(self.is_finite, gradient, tf.cast(math.nan, gradient.dtype))


def _square_sums(vectors: tf.Tensor) -> tf.Tensor:
    """The squared Euclidean norm of each row of a matrix, in float64."""
    return tf.reduce_sum(tf.square(tf.cast(vectors, tf.float64)), axis=1)


def _patch_squares(
    pixels: tf.Tensor, geometry: PatchGeometry, count: tf.Tensor
) -> tf.Tensor:
    """The squared norm of each row's patch, in float64."""
    squares = geometry.gather(_square_sums(pixels)[:, None], tf.range(count))
    return tf.reduce_sum(squares, axis=[1, 2, 3])


def lower_largest(size: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Clips sizes at the limit at which no row would be drawn more than once.

    Rows of at least the limit are drawn once each, and the others share the remaining
    draws: limit = sum of the others / remaining draws. Each pass adds rows to the
    former.

    Args:
        size: Sizes along the last axis.
        draws: Number of draws, of the shape of the other axes and a last one of 1; or a
            scalar.
    """
    limit = tf.constant(math.inf, tf.float64)
    for _ in range(_LIMIT_PASSES):
        is_other = size < limit
        others = tf.where(is_other, size, tf.zeros_like(size))
        others = tf.reduce_sum(others, axis=-1, keepdims=True)
        whole = tf.cast(tf.math.logical_not(is_other), tf.int64)
        whole = tf.reduce_sum(whole, axis=-1, keepdims=True)
        left = tf.cast(draws - whole, tf.float64)
        lower = tf.minimum(tf.math.divide_no_nan(others, left), limit)
        limit = tf.where((left > 0) & (others > 0), lower, limit)
    return tf.minimum(size, limit)


def draw_places(
    size: tf.Tensor,
    total: tf.Tensor,
    draws: tf.Tensor,
    places: tf.Tensor,
    uniform: tf.Tensor,
) -> tf.Tensor:
    """The drawn rows in order, `[places]`, each as often as it is drawn.

    Row r has the places from floor(draws*C[r-1]/Q + u) to floor(draws*C[r]/Q + u) - 1.
    So the row of a place is the number of rows that end at or before it.
    """
    rate = tf.cast(draws, tf.float64) / total
    ends = tf.floor(tf.cumsum(size) * rate + uniform)
    is_drawable = tf.math.is_finite(rate) & tf.math.is_finite(ends)
    ends = tf.cast(tf.where(is_drawable, ends, tf.zeros_like(ends)), tf.int64)
    ends = tf.minimum(ends, draws)
    ending = tf.scatter_nd(ends[:, None], tf.ones_like(ends), places[None] + 1)
    return tf.cumsum(ending)[:-1]
