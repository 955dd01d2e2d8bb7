"""XLA compilation: its detection, and a barrier against constant folding.

XLA can't compile this package's ops. Functions traced for XLA compose TensorFlow's ops
instead; all others run the kernels.
"""

from __future__ import annotations

import tensorflow as tf

from tf_approxgrad import _compat


def is_compiling() -> bool:
    """Whether XLA will compile the function that is being traced."""
    return not tf.executing_eagerly() and _compat.in_xla_context()


def opaque(tensor: tf.Tensor) -> tf.Tensor:
    """The same tensor, which XLA doesn't try to evaluate at compile time.

    For a `tf.switch_case`, XLA determines which inputs are constants. To do so for the
    result of another `switch_case`, it evaluates all branches, element by element, for
    minutes. It doesn't evaluate loops.
    """
    _, same = tf.while_loop(
        lambda is_done, _: tf.logical_not(is_done),
        lambda _, value: (tf.constant(True), value),
        (tf.constant(False), tensor),
    )
    return same
