"""Philox4x32-10 and numbers derived from its words, in TensorFlow's ops."""

from __future__ import annotations

import tensorflow as tf

# Multipliers and key increments, as in cc/common/philox-inl.h.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
# The order of the elements is that of cc/cpu/random/fill_normal.h.
_BLOCKS = 64
_UNIT = 1.4629180792671596e-9  # 2 pi / 2^32


def random_filter_gradient(
    filter_sizes: tf.Tensor, step: tf.Tensor, seed: int, layer: int
) -> tf.Tensor:
    """The numbers of the op ApproxRandomFilterGradient, of standard deviation 1.

    The generator's words are identical to the bit. Logarithm, sine and cosine are
    XLA's, which differ from the op's in the last digits.

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


def uniforms(
    block: tf.Tensor, layer: int, step: tf.Tensor, seed: int, bits: int
) -> tf.Tensor:
    """Numbers in [0, 1) from the first words of Philox's blocks.

    Args:
        block: Block numbers, uint64.
        layer, step, seed: Counter and key of the generator.
        bits: Number of random bits of a number, at most 53.

    Returns:
        A float64 tensor of the shape of `block`.
    """
    high, low, _, _ = _philox(block, layer, step, seed)
    number = tf.bitwise.left_shift(high, _uint64(32)) | low
    number = tf.bitwise.right_shift(number, _uint64(64 - bits))
    return tf.cast(tf.cast(number, tf.int64), tf.float64) * 2.0**-bits


def _uint64(number: int) -> tf.Tensor:
    return tf.constant(number, tf.uint64)


def _philox(
    block: tf.Tensor, layer: int, step: tf.Tensor, seed: int
) -> list[tf.Tensor]:
    """The four 32-bit words of each block of Philox4x32-10, as uint64.

    `seed` is the key, low word first; bits beyond the 64th are ignored.
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
    # The nearest quarter turn, and the remainder from -pi/4 to pi/4.
    signed = tf.cast(word, tf.int64)
    quarter = tf.bitwise.right_shift(signed + 0x20000000, tf.constant(30, tf.int64))
    angle = tf.cast(signed - quarter * 2**30, tf.float32) * _UNIT
    cos, sin = tf.cos(angle), tf.sin(angle)
    is_odd = quarter % 2 == 1
    x, y = tf.where(is_odd, sin, cos), tf.where(is_odd, cos, sin)
    quarter = quarter % 4
    x_negative = (quarter == 1) | (quarter == 2)
    return tf.where(x_negative, -x, x), tf.where(quarter >= 2, -y, y)
