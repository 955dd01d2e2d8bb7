"""The methods in TensorFlow's own ops, for functions that XLA compiles.

XLA knows no op of ours. What is traced for it computes the same from ops that it does
know; everything else runs the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# What tf.cond asks as well. TensorFlow has no public name for it.
from tensorflow.python.ops import control_flow_util

from tf_approxgrad.arguments import ConvArguments

# Philox4x32, as in cc/kernels/philox_impl.h: multipliers and key increments.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
# cc/kernels/random_normal.h says how the elements take turns.
_BLOCKS = 64
_UNIT = 1.4629180792671596e-9  # 2 pi / 2^32


def is_compiling() -> bool:
    """Whether what is being traced will be compiled by XLA as a whole."""
    return not tf.executing_eagerly() and bool(
        control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    )


def opaque(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor whose value XLA doesn't try to find out while it compiles.

    A `tf.switch_case` asks which of its inputs are constants. Of one that another
    `switch_case` made, XLA computes both branches to see, element by element, for
    minutes. It doesn't look into a loop.
    """
    _, same = tf.while_loop(
        lambda is_done, _: tf.logical_not(is_done),
        lambda _, value: (tf.constant(True), value),
        (tf.constant(False), tensor),
    )
    return same


def accumulator_dtype(dtype: tf.DType) -> tf.DType:
    """The type in which sums of elements of a type are accumulated."""
    return tf.float64 if dtype == tf.float64 else tf.float32


def share_attribute(share: float) -> float:
    """A share of the positions, in (0, 1), as the ops' float32 attribute holds it."""
    return float(np.clip(np.float32(share), np.float32(1e-30), 1 - np.float32(2**-24)))


def kept_attributes(k: int | float) -> dict[str, Any]:
    """A method's k as the ops' attributes."""
    if isinstance(k, float):
        return {"k": 1, "k_share": share_attribute(k)}
    return {"k": k, "k_share": 0.0}


def kept_count(k: int | float, positions: tf.Tensor) -> tf.Tensor:
    """How many of `positions`, an int32 scalar, the ops keep: an int32 scalar."""
    if isinstance(k, int):
        count = tf.constant(min(k, 2**31 - 1), tf.int32)
    else:
        exact = share_attribute(k) * tf.cast(positions, tf.float64)
        count = tf.maximum(tf.cast(tf.floor(exact + 0.5), tf.int32), 1)
    return tf.minimum(count, positions)


def kept_filter_gradient(
    input: tf.Tensor,
    filter_sizes: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    weights: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """The gradient from the positions that a method keeps, before any scale.

    It is the exact gradient of what `kept_out_backprop` makes of `out_backprop`.

    Returns:
      A tensor of the shape `filter_sizes`, in the type of the accumulators.
    """
    return tf.raw_ops.Conv2DBackpropFilter(
        input=tf.cast(input, accumulator_dtype(input.dtype)),
        filter_sizes=filter_sizes,
        out_backprop=kept_out_backprop(out_backprop, arguments, weights),
        **arguments.for_op(),
    )


def kept_out_backprop(
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
    weights: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """`out_backprop` with weights at the positions that a method keeps, else zero.

    Args:
      weights: Makes these from the channels of all examples, `[N * Co, Ho * Wo]` in the
        type of the accumulators.

    Returns:
      A tensor of the shape of `out_backprop`, in the type of the accumulators.
    """
    dtype = accumulator_dtype(out_backprop.dtype)
    to_planes = [0, 3, 1, 2] if arguments.channel_axis == 3 else [0, 1, 2, 3]
    planes = tf.transpose(tf.cast(out_backprop, dtype), to_planes)  # [N, Co, Ho, Wo]
    shape = tf.shape(planes)
    rows = weights(tf.reshape(planes, [shape[0] * shape[1], shape[2] * shape[3]]))
    from_planes = [0, 2, 3, 1] if arguments.channel_axis == 3 else [0, 1, 2, 3]
    return tf.transpose(tf.reshape(rows, shape), from_planes)


def max_weights(rows: tf.Tensor, k: int | float) -> tf.Tensor:
    """What the op ApproxConv2DBackpropFilter makes of channels, one a row."""
    sums = tf.reduce_sum(rows, axis=1, keepdims=True)
    if k == 1:
        kept = tf.argmax(tf.abs(rows), axis=1, output_type=tf.int32)[:, None]
        weights = sums
    else:
        count = kept_count(k, tf.shape(rows)[1])
        kept = tf.math.top_k(tf.abs(rows), count).indices
        values = tf.gather(rows, kept, batch_dims=1)
        rest = sums - tf.reduce_sum(values, axis=1, keepdims=True)
        weights = values + rest / tf.cast(count, rows.dtype)
    row = tf.range(tf.shape(rows)[0])[:, None] + tf.zeros_like(kept)
    return tf.scatter_nd(tf.stack([row, kept], axis=2), weights, tf.shape(rows))


def random_filter_gradient(
    filter_sizes: tf.Tensor, step: tf.Tensor, seed: int, layer: int
) -> tf.Tensor:
    """The numbers of the op ApproxRandomFilterGradient, of standard deviation 1.

    The words of the generator are the same to the bit. Logarithm, sine and cosine are
    XLA's own, which differ from the op's in the last places.

    Returns:
      A float32 tensor of the shape `filter_sizes`.
    """
    size = tf.reduce_prod(filter_sizes)
    groups = (size + 4 * _BLOCKS - 1) // (4 * _BLOCKS)
    block = tf.cast(tf.range(groups * _BLOCKS), tf.uint64)
    words = _philox(block, layer, step, seed)
    normals = [
        _radius(words[pair]) * direction
        for pair in (0, 2)
        for direction in _direction(words[pair + 1])
    ]
    numbers = tf.stack([tf.reshape(x, [groups, _BLOCKS]) for x in normals], axis=1)
    return tf.reshape(tf.reshape(numbers, [-1])[:size], filter_sizes)


def _uint64(number: int) -> tf.Tensor:
    return tf.constant(number, tf.uint64)


def uniforms(
    block: tf.Tensor, layer: int, step: tf.Tensor, seed: int, bits: int
) -> tf.Tensor:
    """Numbers in [0, 1) from the first words of Philox's blocks.

    Args:
      block: Which blocks, uint64.
      layer, step, seed: Of the random numbers.
      bits: How many bits a number has, at most 53.

    Returns:
      A float64 tensor of the shape of `block`.
    """
    high, low, _, _ = _philox(block, layer, step, seed)
    number = tf.bitwise.left_shift(high, _uint64(32)) | low
    number = tf.bitwise.right_shift(number, _uint64(64 - bits))
    return tf.cast(tf.cast(number, tf.int64), tf.float64) * 2.0**-bits


def _philox(
    block: tf.Tensor, layer: int, step: tf.Tensor, seed: int
) -> list[tf.Tensor]:
    """The four words of each block of Philox4x32-10, each 32 bits in a uint64.

    `seed` is the key, its low word first; bits beyond the 64th don't count.
    """
    low, shift = _uint64(_MASK), _uint64(32)
    step = tf.bitcast(tf.cast(step, tf.int64), tf.uint64)
    words = [
        block,
        tf.fill(tf.shape(block), _uint64(layer)),
        tf.fill(tf.shape(block), step & low),
        tf.fill(tf.shape(block), tf.bitwise.right_shift(step, shift)),
    ]
    keys = [seed & _MASK, (seed >> 32) & _MASK]
    for _ in range(10):
        product0 = words[0] * _uint64(_MULTIPLIERS[0])
        product1 = words[2] * _uint64(_MULTIPLIERS[1])
        high0 = tf.bitwise.right_shift(product0, shift)
        high1 = tf.bitwise.right_shift(product1, shift)
        words = [
            high1 ^ words[1] ^ _uint64(keys[0]),
            product1 & low,
            high0 ^ words[3] ^ _uint64(keys[1]),
            product0 & low,
        ]
        keys = [
            (key + increment) & _MASK
            for key, increment in zip(keys, _INCREMENTS, strict=True)
        ]
    return words


def _radius(word: tf.Tensor) -> tf.Tensor:
    halved = tf.cast(tf.bitwise.right_shift(word, _uint64(1)), tf.int32)
    number = tf.cast(halved, tf.float32) + 0.5
    return tf.sqrt(tf.maximum(-2.0 * tf.math.log(number * 2.0**-31), 0.0))


def _direction(word: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosine and sine of 2 pi word / 2^32."""
    # The nearest quarter turn, and what is left, from -pi/4 to pi/4.
    signed = tf.cast(word, tf.int64)
    quarter = tf.bitwise.right_shift(signed + 0x20000000, tf.constant(30, tf.int64))
    angle = tf.cast(signed - quarter * 2**30, tf.float32) * _UNIT
    cos, sin = tf.cos(angle), tf.sin(angle)
    is_odd = quarter % 2 == 1
    x, y = tf.where(is_odd, sin, cos), tf.where(is_odd, cos, sin)
    quarter = quarter % 4
    x_negative = (quarter == 1) | (quarter == 2)
    return tf.where(x_negative, -x, x), tf.where(quarter >= 2, -y, y)
