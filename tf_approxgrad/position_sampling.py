"""The sampled gradient's draws in TensorFlow's own ops, which XLA can compile.

What decides the draws is computed in float64: the kernel's sums, in the accumulators'
type, differ too little from it to move a draw but very seldom.
"""

from __future__ import annotations

import tensorflow as tf

from tf_approxgrad.xla import kept_count, uniforms

# "DRAW": the key's high word differs by it from that of the random normal numbers, so
# that no two numbers come from the same block. cc/kernels/systematic_sampling.h has the
# same.
_STREAM = 0x44524157


def sampled_weights(
    rows: tf.Tensor, k: int | float, step: tf.Tensor, seed: int, layer: int
) -> tf.Tensor:
    """What the op ApproxSampledConv2DBackpropFilter makes of channels, one a row.

    Args:
      rows: `[N * Co, Ho * Wo]`, in the type of the accumulators.
      k: How many positions, or which share of them, is drawn.
      step: The training step, an integer scalar.
      seed, layer: Of the random numbers.

    Returns:
      The weight of each position, zero where it isn't drawn.
    """
    count = kept_count(k, tf.shape(rows)[1])
    draws = tf.cast(count, tf.float64)
    sums = tf.cumsum(tf.abs(tf.cast(rows, tf.float64)), axis=1)
    totals = sums[:, -1:]
    uniform = _uniform(rows, step, seed, layer)
    ends = tf.floor(draws * tf.math.divide_no_nan(sums, totals) + uniform[:, None])
    times = ends - tf.pad(ends[:, :-1], [[0, 0], [1, 0]])
    weights = tf.sign(rows) * tf.cast(totals / draws * times, rows.dtype)
    return tf.where(count == tf.shape(rows)[1], rows, weights)


def _uniform(rows: tf.Tensor, step: tf.Tensor, seed: int, layer: int) -> tf.Tensor:
    """A float64 number in [0, 1) for each row, with as many bits as the kernel's."""
    index = tf.cast(tf.range(tf.shape(rows)[0]), tf.uint64)
    bits = 53 if rows.dtype == tf.float64 else 24
    return uniforms(index, layer, step, seed ^ (_STREAM << 32), bits)
