"""The row-sampled gradients in TensorFlow's own ops, which XLA can compile.

A row is one position of one example, r = (n*Ho + row)*Wo + col. All that decides which
rows are drawn is computed in float64, so that the choice is that of the kernel: sums in
another order differ too little to move a draw.
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

# "ROWS": the key's high word differs by it from that of the random normal numbers, so
# that no two numbers come from the same block. cc/kernels/row_draw.h has the same.
_STREAM = 0x524F5753
# How often the limit of the largest rows is lowered, as in cc/kernels/row_draw.h.
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
    """What the op ApproxRowSampledConv2DBackpropFilter computes, before any scale.

    The drawn rows of `out_backprop` and their patches are gathered. One matrix product
    of the two is the result.

    Returns:
        A tensor of the shape `filter_sizes`, in the type of the accumulators.
    """
    dtype = accumulator_dtype(input.dtype)
    if input.shape.num_elements() == 0 or out_backprop.shape.num_elements() == 0:
        return tf.zeros(filter_sizes, dtype)
    rows = _DrawnRows.draw(
        input, filter_sizes, out_backprop, arguments, method, step, layer
    )
    patches = tf.cast(rows.windows.gather(rows.pixels, rows.places), dtype)
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
    """The exact input gradient of the drawn rows with their weights, before any scale.

    One matrix product of these rows of `out_backprop` and the filters gives each row's
    patch of the result, and the patches are added up.

    Returns:
        A tensor of the shape of `input`, in the type of the accumulators.
    """
    dtype = accumulator_dtype(input.dtype)
    if input.shape.num_elements() == 0 or out_backprop.shape.num_elements() == 0:
        return tf.zeros(tf.shape(input), dtype)
    sizes = tf.shape(filters)
    rows = _DrawnRows.draw(input, sizes, out_backprop, arguments, method, step, layer)
    matrix = tf.reshape(tf.cast(filters, dtype), [-1, sizes[3]])
    patches = tf.matmul(rows.weighted, matrix, transpose_b=True)
    patches = tf.reshape(patches, [-1, sizes[0], sizes[1], sizes[2]])
    gradient = rows.windows.scatter(patches, rows.places)
    if arguments.channel_axis == 1:
        gradient = tf.transpose(gradient, [0, 3, 1, 2])
    return rows.checked(tf.ensure_shape(gradient, input.shape))


@dataclasses.dataclass(frozen=True)
class _DrawnRows:
    """The rows that are drawn at a step.

    Attributes:
        windows: Where the rows' patches are.
        pixels: The input, `[N*H*W, Ci]`.
        places: The drawn rows in order, each as often as it is drawn. Places that
            nothing was drawn for come last and name the row behind the last.
        weighted: dY of these rows times its weight, `[places, Co]`, in the type of the
            accumulators; zero where nothing was drawn.
        is_finite: Whether the probabilities are.
    """

    windows: PatchGeometry
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
        windows = PatchGeometry.make(input, filter_sizes, out_backprop, arguments)
        dtype = accumulator_dtype(input.dtype)
        if arguments.channel_axis == 1:
            input = tf.transpose(input, [0, 2, 3, 1])
            out_backprop = tf.transpose(out_backprop, [0, 2, 3, 1])
        pixels = tf.reshape(input, [-1, tf.shape(input)[3]])
        rows = tf.reshape(out_backprop, [-1, tf.shape(out_backprop)[3]])
        count = tf.shape(rows, tf.int64)[0]

        size = tf.sqrt(_square_sums(rows))
        if method.probability == "product":
            squares = windows.gather(_square_sums(pixels)[:, None], tf.range(count))
            size *= tf.sqrt(tf.reduce_sum(squares, axis=[1, 2, 3]))
        is_finite = tf.math.is_finite(tf.reduce_sum(size))
        draws = most_draws
        if method.keep_largest:
            size = _lower_largest(size, draws)
            draws = tf.minimum(draws, tf.math.count_nonzero(size, dtype=tf.int64))
        total = tf.reduce_sum(size)
        key = method.seed ^ (_STREAM << 32)
        # As many bits as a float64 between 1/2 and 1 has.
        uniform = uniforms(tf.constant(0, tf.uint64), layer, step, key, bits=53)
        places = _draw(size, total, draws, most_draws, uniform)

        is_row = places < count
        drawn = tf.minimum(places, count - 1)
        weight = total / (tf.cast(draws, tf.float64) * tf.gather(size, drawn))
        weight = tf.where(is_row, weight, tf.zeros_like(weight))
        weighted = tf.cast(tf.gather(rows, drawn), tf.float64) * weight[:, None]
        return cls(windows, pixels, places, tf.cast(weighted, dtype), is_finite)

    def checked(self, gradient: tf.Tensor) -> tf.Tensor:
        """The gradient made from the rows; NaN where their choice was by no number."""
        return tf.where(self.is_finite, gradient, tf.cast(math.nan, gradient.dtype))


def _square_sums(vectors: tf.Tensor) -> tf.Tensor:
    """The squared Euclidean norm of each row of a matrix, in float64."""
    return tf.reduce_sum(tf.square(tf.cast(vectors, tf.float64)), axis=1)


def _lower_largest(size: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Lowers sizes to the limit at which no row would be drawn more than once.

    With the rows of at least the limit drawn once each, the others share the remaining
    draws: limit = sum of the others / remaining draws. Each pass adds rows to the
    former.
    """
    limit = tf.constant(math.inf, tf.float64)
    for _ in range(_LIMIT_PASSES):
        is_other = size < limit
        others = tf.reduce_sum(tf.where(is_other, size, tf.zeros_like(size)))
        whole = tf.math.count_nonzero(size >= limit, dtype=tf.int64)
        left = tf.cast(draws - whole, tf.float64)
        lower = tf.minimum(tf.math.divide_no_nan(others, left), limit)
        limit = tf.where((left > 0) & (others > 0), lower, limit)
    return tf.minimum(size, limit)


def _draw(
    size: tf.Tensor,
    total: tf.Tensor,
    draws: tf.Tensor,
    places: tf.Tensor,
    uniform: tf.Tensor,
) -> tf.Tensor:
    """The drawn rows in order, [places], each as often as it is drawn.

    Row r has the places from floor(draws*C[r-1]/Q + u) up to floor(draws*C[r]/Q + u),
    so the row of a place is the number of rows that end before it or there.
    """
    rate = tf.cast(draws, tf.float64) / total
    ends = tf.floor(tf.cumsum(size) * rate + uniform)
    is_drawable = tf.math.is_finite(rate) & tf.math.is_finite(ends)
    ends = tf.cast(tf.where(is_drawable, ends, tf.zeros_like(ends)), tf.int64)
    ends = tf.minimum(ends, draws)
    ending = tf.scatter_nd(ends[:, None], tf.ones_like(ends), places[None] + 1)
    return tf.cumsum(ending)[:-1]
