"""The variance that methods add to a filter gradient."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.observer import RecordedCall, summed_gradient
from tf_approxgrad.gradients.xla.rows import row_sampled_variances
from tf_approxgrad.methods import ExactGradient, GradientMethod, RowSampledGradient


def extra_variances(
    calls: Sequence[RecordedCall], methods: Sequence[GradientMethod], step: tf.Tensor
) -> tf.Tensor:
    """V = E|a - g|^2 of methods' gradients a of a layer, with g the exact one.

    That of `RowSampledGradient` is computed; that of others is one draw's, and includes
    the square of a bias.

    Args:
        calls: The layer's recorded calls.
        methods: The methods, at least one.
        step: Training step, for methods that draw random numbers.

    Returns:
        A float64 vector, an element for each method.
    """
    found: dict[GradientMethod, tf.Tensor] = {}
    rows = [
        method
        for method in methods
        if isinstance(method, RowSampledGradient) and _has_formula(method, calls)
    ]
    if rows:
        of_calls = [row_sampled_variances(call.inputs, rows) for call in calls]
        found.update(zip(rows, tf.unstack(tf.add_n(of_calls)), strict=True))
    drawn = [method for method in methods if method not in found]
    if drawn:
        exact = summed_gradient(calls, ExactGradient(), step)
        for method in drawn:
            found[method] = square_sum(summed_gradient(calls, method, step) - exact)
    return tf.stack([found[method] for method in methods])


def _has_formula(method: RowSampledGradient, calls: Sequence[RecordedCall]) -> bool:
    # Transposed convolutions become convolutions only while they are computed.
    return method.scale == 1 and all(call.compute is filter_gradient for call in calls)


def square_sum(gradient: tf.Tensor) -> tf.Tensor:
    """The squared Frobenius norm, in float64."""
    return tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64)))
