"""The variance that methods add to a filter gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tf_approxgrad.gradients import op_library
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.inputs import GradientInputs, may_be_on_gpu
from tf_approxgrad.gradients.observer import RecordedCall, summed_gradient
from tf_approxgrad.gradients.op_inputs import rows_to_draw
from tf_approxgrad.gradients.squares import squares_of_positions
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.gradients.xla.rows import lower_largest
from tf_approxgrad.methods import (
    ExactGradient,
    GradientMethod,
    RowSampledGradient,
    by_share,
)


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
    found = _by_formula(calls, methods)
    drawn = [method for method in methods if method not in found]
    if drawn:
        exact = summed_gradient(calls, ExactGradient(), step)
        for method in drawn:
            found[method] = square_sum(summed_gradient(calls, method, step) - exact)
    return tf.stack([found[method] for method in methods])


def extra_variances_in_turns(
    calls: Sequence[RecordedCall],
    methods: Sequence[GradientMethod],
    step: tf.Tensor,
    turn: tf.Tensor,
    exact: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `extra_variances`, with fewer draws.

    Of methods that differ in share alone and have no formula, one is drawn.

    Args:
        calls, methods, step: As for `extra_variances`.
        turn: Number of the call, an integer scalar; it says which is drawn.
        exact: The layer's exact gradient.

    Returns:
        A float64 vector of V, 0 for methods that weren't drawn, and one of ones, and
        zeros for these.
    """
    found = _by_formula(calls, methods)
    counts = dict.fromkeys(found, tf.ones([], tf.float64))
    for family in by_share(method for method in methods if method not in found):
        number = turn % len(family)
        shares = tf.constant([getattr(x, "share", 1.0) for x in family], tf.float64)
        moved = calls
        if len(family) > 1:
            inputs = [
                dataclasses.replace(call.inputs, share=tf.gather(shares, number))
                for call in calls
            ]
            moved = [
                dataclasses.replace(call, inputs=own)
                for call, own in zip(calls, inputs, strict=True)
            ]
        # The least share stands for all: a share of 1 is computed by another op.
        gradient = summed_gradient(moved, family[0], step)
        flags = tf.unstack(tf.one_hot(number, len(family), dtype=tf.float64))
        variance = square_sum(gradient - exact)
        for method, flag in zip(family, flags, strict=True):
            found[method] = tf.math.multiply_no_nan(variance, flag)
            counts[method] = flag
    return (
        tf.stack([found[method] for method in methods]),
        tf.stack([counts[method] for method in methods]),
    )


def _by_formula(
    calls: Sequence[RecordedCall], methods: Sequence[GradientMethod]
) -> dict[GradientMethod, tf.Tensor]:
    """V of those of the methods that have a formula."""
    rows = [
        method
        for method in methods
        if isinstance(method, RowSampledGradient) and _has_formula(method, calls)
    ]
    if not rows:
        return {}
    of_calls = [row_sampled_variances(call.inputs, rows) for call in calls]
    return dict(zip(rows, tf.unstack(tf.add_n(of_calls)), strict=True))


def row_sampled_variances(
    inputs: GradientInputs, methods: Sequence[RowSampledGradient]
) -> tf.Tensor:
    """E|a - g|^2 of row-sampled filter gradients a, with g the exact one.

    Rows count as drawn independently: a row with the expected number of draws
    `e[r] = M*q[r]/Q` is drawn floor(e[r]) times or once more, with variance f*(1 - f),
    f the fraction of e[r]. So the result is the sum of
    `f*(1 - f) / e[r]^2 * |dY[r]|^2 * |patch(r)|^2`.

    Args:
        inputs: Inputs of the gradient.
        methods: The methods, of scale 1. They share one reading of X and dY.

    Returns:
        A float64 vector, an element for each method.
    """
    draws = tf.stack(
        [rows_to_draw(x.share, inputs.out_backprop, inputs.arguments) for x in methods]
    )
    if xla.is_compiling() or may_be_on_gpu(inputs.input):
        found = _composed_variances(inputs, methods, draws)
    else:
        found = op_library.approx_row_variances(
            input=inputs.input,
            filter_sizes=inputs.filter_sizes,
            out_backprop=inputs.out_backprop,
            draws=draws,
            probabilities=[x.probability for x in methods],
            keep_largest=[x.keep_largest for x in methods],
            **inputs.arguments.for_op(),
        )
    # A share of 1 is the exact gradient itself.
    is_sample = tf.constant([float(x.share < 1) for x in methods], tf.float64)
    return tf.math.multiply_no_nan(found, is_sample)


def _composed_variances(
    inputs: GradientInputs, methods: Sequence[RowSampledGradient], draws: tf.Tensor
) -> tf.Tensor:
    """The variances by TensorFlow's ops, before those of exact methods are zero."""
    squares = squares_of_positions(inputs)
    of_rows, of_patches = (tf.reshape(x, [-1]) for x in squares)
    of_terms = of_rows * of_patches
    families: dict[tuple[str, bool], list[int]] = {}
    for number, method in enumerate(methods):
        key = (method.probability, method.keep_largest)
        families.setdefault(key, []).append(number)
    found: dict[int, tf.Tensor] = {}
    for (probability, keeps_largest), family in families.items():
        size = tf.sqrt(of_terms if probability == "product" else of_rows)[None]
        places = tf.gather(draws, family)[:, None]
        if keeps_largest:
            size = lower_largest(size, places)
            drawable = tf.math.count_nonzero(
                size, axis=1, keepdims=True, dtype=tf.int64
            )
            places = tf.minimum(places, drawable)
        total = tf.reduce_sum(size, axis=1, keepdims=True)
        expected = tf.cast(places, tf.float64) * tf.math.divide_no_nan(size, total)
        fraction = expected - tf.floor(expected)
        if keeps_largest:
            # Of rows that are kept, rounding leaves e[r] beside 1.
            is_kept = expected > 1 - 1e-9
            fraction = tf.where(is_kept, tf.zeros_like(fraction), fraction)
        of_draws = fraction * (1 - fraction)
        parts = tf.math.divide_no_nan(of_draws * of_terms, tf.square(expected))
        variances = tf.unstack(tf.reduce_sum(parts, axis=1))
        found.update(zip(family, variances, strict=True))
    return tf.stack([found[number] for number in range(len(methods))])


def _has_formula(method: RowSampledGradient, calls: Sequence[RecordedCall]) -> bool:
    # Transposed convolutions become convolutions only while they are computed.
    return method.scale == 1 and all(call.compute is filter_gradient for call in calls)


def square_sum(gradient: tf.Tensor) -> tf.Tensor:
    """The squared Frobenius norm, in float64."""
    return tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64)))
