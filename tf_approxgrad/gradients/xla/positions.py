"""The methods `max` and `sampled` in TensorFlow's ops, which XLA can compile.

The running sums of `sampled` are computed in float64, the kernel's in the accumulators'
dtype, so that draws differ only where rounding crosses a boundary, which is rare.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_approxgrad.gradients.conv_arguments import ConvArguments, accumulator_dtype
from tf_approxgrad.gradients.inputs import GradientInputs, drawing_step
from tf_approxgrad.gradients.op_inputs import share_attribute
from tf_approxgrad.gradients.xla.philox import uniforms
from tf_approxgrad.methods import MaxGradient, SampledGradient

# "DRAW", XORed into the key's high word: a stream of its own, as in
# cc/common/systematic_sampling.h.
_STREAM = 0x44524157


def position_weights(
    method: MaxGradient | SampledGradient, inputs: GradientInputs
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Per-position weights of a method, as a function of dY, one row per channel."""
    if isinstance(method, MaxGradient):
        return lambda rows: max_weights(rows, method.k)
    step = drawing_step(method, inputs)
    return lambda rows: sampled_weights(
        rows, method.k, step, method.seed, inputs.stream
    )


def position_filter_gradient(
    input: tf.Tensor,
    filter_sizes: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    weights: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """The filter gradient from the positions that a method keeps, before scaling.

    It is the exact filter gradient of `sparse_out_backprop`.

    Returns:
        A tensor of the shape `filter_sizes`, in the accumulators' dtype.
    """
    return tf.raw_ops.Conv2DBackpropFilter(
        input=tf.cast(input, accumulator_dtype(input.dtype)),
        filter_sizes=filter_sizes,
        out_backprop=sparse_out_backprop(out_backprop, arguments, weights),
        **arguments.for_op(),
    )


def sparse_out_backprop(
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    weights: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Per-position weights of a method, in the layout of `out_backprop`.

    Args:
        out_backprop: Gradient of the output.
        arguments: Strides, padding, layout and dilations.
        weights: Per-position weights as a function of dY, `[N * Co, Ho * Wo]` in the
            accumulators' dtype.

    Returns:
        A tensor of the shape of `out_backprop`, in the accumulators' dtype; zero at
        positions that aren't kept.
    """
    dtype = accumulator_dtype(out_backprop.dtype)
    to_planes = [0, 3, 1, 2] if arguments.channel_axis == 3 else [0, 1, 2, 3]
    planes = tf.transpose(tf.cast(out_backprop, dtype), to_planes)  # [N, Co, Ho, Wo]
    shape = tf.shape(planes)
    rows = weights(tf.reshape(planes, [shape[0] * shape[1], shape[2] * shape[3]]))
    from_planes = [0, 2, 3, 1] if arguments.channel_axis == 3 else [0, 1, 2, 3]
    return tf.transpose(tf.reshape(rows, shape), from_planes)


def max_weights(rows: tf.Tensor, k: int | float) -> tf.Tensor:
    """Per-position weights of `max`, one row per channel."""
    sums = tf.reduce_sum(rows, axis=1, keepdims=True)
    if k == 1:
        kept = tf.argmax(tf.abs(rows), axis=1, output_type=tf.int32)[:, None]
        weights = sums
    else:
        count = position_count(k, tf.shape(rows)[1])
        kept = tf.math.top_k(tf.abs(rows), count).indices
        values = tf.gather(rows, kept, batch_dims=1)
        rest = sums - tf.reduce_sum(values, axis=1, keepdims=True)
        weights = values + rest / tf.cast(count, rows.dtype)
    row = tf.range(tf.shape(rows)[0])[:, None] + tf.zeros_like(kept)
    return tf.scatter_nd(tf.stack([row, kept], axis=2), weights, tf.shape(rows))


def sampled_weights(
    rows: tf.Tensor, k: int | float, step: tf.Tensor, seed: int, layer: int
) -> tf.Tensor:
    """Per-position weights of `sampled`, one row per channel.

    Args:
        rows: dY as `[N * Co, Ho * Wo]`, in the accumulators' dtype.
        k: Number or share of positions drawn.
        step: Training step, an integer scalar.
        seed, layer: Seed and stream of the random numbers.

    Returns:
        A tensor of the shape of `rows`; zero at positions that aren't drawn.
    """
    count = position_count(k, tf.shape(rows)[1])
    draws = tf.cast(count, tf.float64)
    sums = tf.cumsum(tf.abs(tf.cast(rows, tf.float64)), axis=1)
    totals = sums[:, -1:]
    uniform = _uniform(rows, step, seed, layer)
    ends = tf.floor(draws * tf.math.divide_no_nan(sums, totals) + uniform[:, None])
    times = ends - tf.pad(ends[:, :-1], [[0, 0], [1, 0]])
    weights = tf.sign(rows) * tf.cast(totals / draws * times, rows.dtype)
    return tf.where(count == tf.shape(rows)[1], rows, weights)


def _uniform(rows: tf.Tensor, step: tf.Tensor, seed: int, layer: int) -> tf.Tensor:
    """A float64 in [0, 1) per row, with as many random bits as the kernel's."""
    index = tf.cast(tf.range(tf.shape(rows)[0]), tf.uint64)
    bits = 53 if rows.dtype == tf.float64 else 24
    return uniforms(index, layer, step, seed ^ (_STREAM << 32), bits)


def position_count(k: int | float, positions: tf.Tensor) -> tf.Tensor:
    """The number of kept positions out of `positions`, both int32 scalars."""
    if isinstance(k, int):
        count = tf.constant(min(k, 2**31 - 1), tf.int32)
    else:
        exact = share_attribute(k) * tf.cast(positions, tf.float64)
        count = tf.maximum(tf.cast(tf.floor(exact + 0.5), tf.int32), 1)
    return tf.minimum(count, positions)
