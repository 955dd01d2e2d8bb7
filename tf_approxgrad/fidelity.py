"""How near an approximate filter gradient is to the exact one, on the same batch."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import tensorflow as tf

from tf_approxgrad.filter_gradient import Backprop
from tf_approxgrad.methods import FullGradient, GradientMethod

if TYPE_CHECKING:
    from tf_approxgrad.assignment import Assignment

MEASURES = ("cosine", "relative_error", "norm_ratio")


class Comparison:
    """Filter gradients of the layers of a model, exact and by other methods.

    A layer that is called more than once has the sum of its calls' gradients.
    """

    def __init__(self) -> None:
        self._gradients: dict[tuple[int, GradientMethod], tf.Tensor] = {}

    def compare(
        self,
        assignment: Assignment,
        backprop: Backprop,
        compute: Callable[[GradientMethod, Backprop], tf.Tensor],
    ) -> tf.Tensor:
        """Computes the gradient by each method of the layer; returns the exact one."""
        backprop = assignment.placed(backprop)
        exact = FullGradient()
        for method in dict.fromkeys([exact, *assignment.row()]):
            key = (id(assignment), method)
            gradient = compute(method, backprop)
            before = self._gradients.get(key, tf.zeros_like(gradient))
            self._gradients[key] = before + gradient
        return self._gradients[id(assignment), exact]

    def measures(self, assignment: Assignment) -> dict[GradientMethod, tf.Tensor]:
        """For each approximate method of a layer, the values of `MEASURES`.

        Returns:
          Float32 vectors: the cosine of the angle between approximation a and exact
          gradient g, |a - g| / |g|, and |a| / |g|; where a norm is zero, a ratio to it
          counts as zero. None for a layer through which no gradient came.
        """
        exact = self._gradients.get((id(assignment), FullGradient()))
        if exact is None:
            return {}
        return {
            method: _measures(gradient, exact)
            for (owner, method), gradient in self._gradients.items()
            if owner == id(assignment) and method != FullGradient()
        }


def _measures(approximate: tf.Tensor, exact: tf.Tensor) -> tf.Tensor:
    approximate, exact = (tf.cast(x, tf.float64) for x in (approximate, exact))
    norm, exact_norm = tf.norm(approximate), tf.norm(exact)
    product = tf.reduce_sum(approximate * exact)
    values = [
        tf.math.divide_no_nan(product, norm * exact_norm),
        tf.math.divide_no_nan(tf.norm(approximate - exact), exact_norm),
        tf.math.divide_no_nan(norm, exact_norm),
    ]
    return tf.cast(tf.stack(values), tf.float32)


_current: contextvars.ContextVar[Comparison | None] = contextvars.ContextVar(
    "tf_approxgrad_comparison", default=None
)


def current_comparison() -> Comparison | None:
    """The comparison for which the backward pass runs, or `None` in training."""
    return _current.get()


@contextlib.contextmanager
def comparing() -> Iterator[Comparison]:
    """Makes every layer compute its gradient by all its methods."""
    comparison = Comparison()
    token = _current.set(comparison)
    try:
        yield comparison
    finally:
        _current.reset(token)
