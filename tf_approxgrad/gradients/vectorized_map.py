"""Attached gradients in `tf.vectorized_map`.

It converts each operation of a function to one for all elements, and drops gradients
that are set on an operation.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_approxgrad import _compat
from tf_approxgrad.gradients.attachment import attach_gradient, gradients_named


def _convert(name: str, tensors: list[tf.Tensor], stacked: list[bool]) -> Any:
    """The output for all elements, with its gradient; `None` to leave it as it is.

    Args:
        name: Name of the operation's gradient.
        tensors: Output, input, and what all elements share.
        stacked: Which of these have an axis of the elements.
    """
    gradients = gradients_named(name)
    if gradients is None or any(stacked[2:]) or stacked[0] != stacked[1]:
        return None
    output, input, *shared = tensors
    if not stacked[0]:
        return attach_gradient(output, [input, *shared], gradients)
    # The elements join the batch.
    joined = attach_gradient(_joined(output), [_joined(input), *shared], gradients)
    return tf.reshape(joined, tf.shape(output))


def _joined(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], 0))


def keep_gradients() -> None:
    """Makes `tf.vectorized_map` keep attached gradients; those of others stay as is."""
    _compat.convert_identity_n(_convert)
