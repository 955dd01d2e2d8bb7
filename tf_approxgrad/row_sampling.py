"""The row-sampled gradient in TensorFlow's own ops, which XLA can compile.

A row is one position of one example, r = (n*Ho + row)*Wo + col. All that decides which
rows are drawn is computed in float64, so that the choice is that of the kernel: sums in
another order differ too little to move a draw.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from tf_approxgrad.arguments import ConvArguments
from tf_approxgrad.methods import RowSampledGradient
from tf_approxgrad.xla import accumulator_dtype, uniforms

# "ROWS": the key's high word differs by it from that of the random normal numbers, so
# that no two numbers come from the same block. cc/kernels/row_draw.h has the same.
_STREAM = 0x524F5753
# How often the limit of the largest rows is lowered, as in cc/kernels/row_draw.h.
_LIMIT_PASSES = 8


def rows_to_draw(
    share: float, out_backprop: tf.Tensor, arguments: ConvArguments
) -> tf.Tensor:
    """M = max(1, floor(share * N*Ho*Wo)), an int64 scalar; constant if it can be."""
    channel = arguments.channel_axis
    shape = out_backprop.shape
    if shape.rank is not None:
        sizes = [size for axis, size in enumerate(shape) if axis != channel]
        if None not in sizes:
            rows = max(1, math.floor(share * math.prod(sizes)))
            return tf.constant(rows, tf.int64)
    every = tf.shape(out_backprop, tf.int64)
    count = tf.reduce_prod(every[:channel]) * tf.reduce_prod(every[channel + 1 :])
    rows = tf.floor(share * tf.cast(count, tf.float64))
    return tf.maximum(tf.cast(rows, tf.int64), 1)


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
    most_draws = rows_to_draw(method.share, out_backprop, arguments)
    windows = _Windows.make(input, filter_sizes, out_backprop, arguments)
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
    drawn = _draw(size, total, draws, most_draws, uniform)

    # Places that nothing was drawn for come last and name the row behind the last.
    is_row = drawn < count
    patches = tf.cast(windows.gather(pixels, drawn), dtype)
    drawn = tf.minimum(drawn, count - 1)
    weight = total / (tf.cast(draws, tf.float64) * tf.gather(size, drawn))
    weight = tf.where(is_row, weight, tf.zeros_like(weight))
    weighted = tf.cast(tf.gather(rows, drawn), tf.float64) * weight[:, None]
    patches = tf.reshape(
        patches, [tf.shape(drawn)[0], tf.reduce_prod(filter_sizes[:3])]
    )
    gradient = tf.matmul(patches, tf.cast(weighted, dtype), transpose_a=True)
    gradient = tf.reshape(gradient, filter_sizes)
    return tf.where(is_finite, gradient, tf.cast(math.nan, dtype))


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


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Where in the input the filter lies at each row.

    Attributes:
      batch: N.
      in_sizes: H and W.
      out_sizes: Ho and Wo.
      kernel: KH and KW.
      strides, dilations: Of the two spatial axes.
      before: The padding's zeros before each axis.
    """

    batch: tf.Tensor
    in_sizes: tf.Tensor
    out_sizes: tf.Tensor
    kernel: tf.Tensor
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...] | tf.Tensor

    @classmethod
    def make(
        cls,
        input: tf.Tensor,
        filter_sizes: tf.Tensor,
        out_backprop: tf.Tensor,
        arguments: ConvArguments,
    ) -> _Windows:
        first = 1 if arguments.channel_axis == 3 else 2
        spatial = slice(first, first + 2)
        in_sizes = tf.shape(input, tf.int64)[spatial]
        out_sizes = tf.shape(out_backprop, tf.int64)[spatial]
        kernel = tf.cast(filter_sizes[:2], tf.int64)
        strides, dilations = arguments.strides[spatial], arguments.dilations[spatial]
        reach = (kernel - 1) * dilations + 1
        before: tuple[int, ...] | tf.Tensor = (0, 0)
        padded = in_sizes
        if arguments.padding == "EXPLICIT":
            pads = arguments.explicit_paddings[2 * first : 2 * first + 4]
            before = pads[::2]
            padded += (pads[0] + pads[1], pads[2] + pads[3])
        elif arguments.padding == "SAME":
            total = ((in_sizes + strides - 1) // strides - 1) * strides + reach
            padded = tf.maximum(total, in_sizes)
            before = (padded - in_sizes) // 2
        expected, found = (
            tf.get_static_value(sizes)
            for sizes in ((padded - reach) // strides + 1, out_sizes)
        )
        if expected is not None and found is not None and list(expected) != list(found):
            raise ValueError(
                f"out_backprop has {found[0]} rows and {found[1]} columns, but the "
                f"convolution's output has {expected[0]} and {expected[1]}."
            )
        batch = tf.shape(input, tf.int64)[0]
        return cls(batch, in_sizes, out_sizes, kernel, strides, dilations, before)

    def gather(self, pixels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The patches of `rows` from `pixels` [N*H*W, C]: [rows, KH, KW, C].

        Rows behind the last get zeros.
        """
        height, width = tf.unstack(self.in_sizes)
        out_height, out_width = tf.unstack(self.out_sizes)
        taps = [tf.range(taps) for taps in tf.unstack(self.kernel)]
        example = rows // (out_height * out_width)
        first = (rows // out_width % out_height, rows % out_width)
        y, x = (
            (first[axis] * self.strides[axis] - self.before[axis])[:, None]
            + taps[axis] * self.dilations[axis]
            for axis in (0, 1)
        )
        y_inside, x_inside = (y >= 0) & (y < height), (x >= 0) & (x < width)
        y_inside &= (example < self.batch)[:, None]
        inside = (y_inside[:, :, None] & x_inside[:, None, :])[..., None]
        # Any pixel will do outside.
        example = tf.minimum(example, self.batch - 1)
        y = tf.clip_by_value(y, 0, height - 1)
        x = tf.clip_by_value(x, 0, width - 1)
        place = (example[:, None] * height + y)[:, :, None] * width + x[:, None, :]
        values = tf.gather(pixels, place)
        return tf.where(inside, values, tf.zeros_like(values))
