"""Whether XLA compiles what is being traced, and how to keep it from evaluating it.

XLA knows no op of ours. What is traced for it computes the same from ops that it does
know; everything else runs the kernels.
"""

from __future__ import annotations

import tensorflow as tf

from tf_approxgrad import _compat


def is_compiling() -> bool:
    """Whether what is being traced will be compiled by XLA as a whole."""
    return not tf.executing_eagerly() and _compat.in_xla_context()


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
