"""Statistics of an approximate gradient's draws, relative to the exact gradient."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

MEASURES = ("cosine", "relative_error", "norm_ratio")


def measures(approximate: tf.Tensor, exact: tf.Tensor) -> tf.Tensor:
    """The values of `MEASURES` for two gradients, as a float64 vector.

    They are the cosine of the angle between approximation a and exact gradient g,
    `|a - g| / |g|` and `|a| / |g|`. Where a norm is zero, ratios to it are zero.
    """
    approximate, exact = (tf.cast(x, tf.float64) for x in (approximate, exact))
    norm, exact_norm = tf.norm(approximate), tf.norm(exact)
    product = tf.reduce_sum(approximate * exact)
    values = [
        tf.math.divide_no_nan(product, norm * exact_norm),
        tf.math.divide_no_nan(tf.norm(approximate - exact), exact_norm),
        tf.math.divide_no_nan(norm, exact_norm),
    ]
    return tf.stack(values)


class GradientStatistics:
    """Accumulates draws of a gradient into the measures that `fidelity` defines.

    Args:
        exact: The exact gradient.
    """

    def __init__(self, exact: tf.Tensor) -> None:
        self._exact = exact
        self._reference = _as_float64(exact)
        self._error_sum = np.zeros_like(self._reference)
        self._squares = 0.0
        self._measured: list[np.ndarray] = []

    def add(self, gradient: tf.Tensor) -> None:
        """Adds a draw, of the shape of the exact gradient."""
        error = _as_float64(gradient) - self._reference
        self._error_sum += error
        self._squares += np.sum(error**2)
        self._measured.append(measures(gradient, self._exact).numpy())

    def numbers(self) -> dict[str, float]:
        """The measures of a `FidelityRow`, from at least one draw."""
        cosines, errors, ratios = np.transpose(self._measured)
        count = len(self._measured)
        mean_square = np.sum((self._error_sum / count) ** 2)
        variance = 0.0
        if count > 1:
            variance = (self._squares - count * mean_square) / (count - 1)
        # Rounding can make either slightly negative. Unlike max, np.maximum keeps NaN.
        variance = np.maximum(variance, 0.0)
        bias_square = np.maximum(mean_square - variance / count, 0.0)
        norm_square = np.sum(self._reference**2)
        scale = 0.0 if norm_square == 0 else 1 / norm_square
        return {
            "cosine": float(np.mean(cosines)),
            "relative_error": float(np.sqrt(np.mean(errors**2))),
            "norm_ratio": float(np.mean(ratios)),
            "bias": float(np.sqrt(bias_square * scale)),
            "variance": float(variance * scale),
        }


def _as_float64(gradient: tf.Tensor) -> np.ndarray:
    return tf.cast(gradient, tf.float64).numpy()
