"""Gradients of one convolution, computed several times in a call."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from benchmarks.kernels.shapes import Shape

# A call of less work than this is repeated inside the graph, as Python's own part of a
# call takes longer than it. In multiply-adds of the exact gradient.
_ENOUGH_WORK = 2e10
_MOST_REPEATS = 64


def repeats_of(shape: Shape) -> int:
    """How often a gradient is computed in a call."""
    return min(math.ceil(_ENOUGH_WORK / shape.dense_work), _MOST_REPEATS)


def repeated_call(
    compute: Callable[[list[tf.Tensor], int], tf.Tensor],
    tensors: list[tf.Tensor],
    repeats: int,
) -> Callable[[], object]:
    """A call that computes a gradient several times.

    Args:
        compute: Makes a gradient of rank 4 of the tensors and the number of the
            repetition.
        tensors: Arguments of the graph, so that nothing is computed when it is traced.
        repeats: How often.

    Returns:
        A function of no arguments that waits for the results.
    """

    @tf.function
    def gradients(*tensors: tf.Tensor) -> list[tf.Tensor]:
        # An element of each is returned: a gradient that nobody reads isn't made,
        # and one that is kept takes new memory, where a training step uses that of
        # the last step again.
        elements: list[tf.Tensor] = []
        for number in range(repeats):
            # One after the other, so that none is taken for another's copy.
            with tf.control_dependencies(elements[-1:]):
                elements.append(compute(list(tensors), number)[0, 0, 0, 0])
        return elements

    concrete = gradients.get_concrete_function(*tensors)
    return lambda: concrete(*tensors)
