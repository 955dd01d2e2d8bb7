"""Comparison of each layer's own gradients with the exact ones, and their times."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from tf_approxgrad.gradients.observer import RecordedCall, summed_gradient
from tf_approxgrad.measure.capture import observed_layers
from tf_approxgrad.measure.report import FidelityRow
from tf_approxgrad.measure.statistics import GradientStatistics
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.utils.timing import time_in_turns

# Computes a layer's recorded gradient by a method at a step.
LayerGradient = Callable[[GradientMethod, tf.Tensor], tf.Tensor]


def measure_layers(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    gradient: str,
    forward: Callable[[], Callable[[], object]],
    methods: Sequence[GradientMethod],
    steps: range,
    repeats: int,
) -> list[FidelityRow]:
    """Compares each layer's own gradients by several methods with the exact ones.

    Args:
        model: A built model.
        layers: Its convertible layers to measure, by layer index.
        gradient: `"filter"` or `"input"`.
        forward: Runs the forward pass and returns a function that runs the backward
            pass.
        methods: The methods.
        steps: Steps at which methods that draw random numbers are computed.
        repeats: Number of measurements of each time.

    Returns:
        A row for each method and each layer that gets such a gradient.
    """
    with observed_layers(model, layers) as (observer, policies):
        forward()()
    recorded, compute = observer.filter_calls, summed_gradient
    if gradient == "input":
        recorded, compute = observer.input_calls, joined_gradient
    return [
        row
        for index, policy in policies.items()
        if recorded[policy]
        for row in _measure_layer(
            index,
            policy.layer_name,
            functools.partial(compute, recorded[policy]),
            methods,
            steps,
            repeats,
        )
    ]


def draws_of(method: GradientMethod, steps: range) -> range:
    """The steps at which a method is computed: one if it draws no random numbers."""
    return steps if method.needs_step else steps[:1]


def joined_gradient(
    calls: Sequence[RecordedCall], method: GradientMethod, step: tf.Tensor
) -> tf.Tensor:
    """The input gradients of all calls of a layer, as one vector."""
    gradients = [call.gradient(method, step) for call in calls]
    return tf.concat([tf.reshape(x, [-1]) for x in gradients], axis=0)


def _measure_layer(
    index: int,
    name: str,
    gradient: LayerGradient,
    methods: Sequence[GradientMethod],
    steps: range,
    repeats: int,
) -> list[FidelityRow]:
    def draw(method: GradientMethod) -> Iterator[tf.Tensor]:
        for step in draws_of(method, steps):
            yield gradient(method, tf.constant(step, tf.int64))

    (exact,) = draw(FullGradient())
    numbers = {}
    for method in methods:
        found = GradientStatistics(exact)
        for drawn in draw(method):
            found.add(drawn)
        numbers[method] = found.numbers()
    ms = milliseconds(gradient, [FullGradient(), *methods], steps[-1], repeats)
    return [
        FidelityRow(
            layer=name,
            index=index,
            method=method,
            **numbers[method],
            dense_ms=ms[FullGradient()],
            method_ms=ms[method],
        )
        for method in methods
    ]


def milliseconds(
    gradient: LayerGradient,
    methods: Iterable[GradientMethod],
    step: int,
    repeats: int,
    jit_compile: bool = False,
    between: Callable[[], object] = lambda: None,
) -> dict[GradientMethod, float]:
    """The median time of a layer's gradient by each method, in milliseconds.

    Args:
        gradient: Computes the gradient by a method at a step.
        methods: The methods, timed in turns.
        step: The step.
        repeats: Number of measurements; 0 gives NaN.
        jit_compile: Whether XLA compiles the gradient.
        between: Called before each measurement.
    """
    distinct = list(dict.fromkeys(methods))
    if not repeats:
        return dict.fromkeys(distinct, math.nan)

    def compiled(method: GradientMethod) -> Callable[[], object]:
        # Returns one element only: the whole gradient would be allocated anew in every
        # call. Reading it synchronises with a GPU.
        function = tf.function(
            lambda step: tf.reshape(gradient(method, step), [-1])[0],
            autograph=False,
            jit_compile=jit_compile,
        ).get_concrete_function(tf.TensorSpec([], tf.int64))
        return lambda: function(at_step).numpy()

    at_step = tf.constant(step, tf.int64)
    functions = {method: compiled(method) for method in distinct}
    seconds = time_in_turns(functions, repeats, between)
    return {method: 1e3 * statistics.median(seconds[method]) for method in distinct}
