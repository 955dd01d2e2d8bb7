"""The effect of approximate input gradients on a model's filter gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tf_approxgrad.gradients.observer import Observer, summed_gradient
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.measure.capture import observed_layers
from tf_approxgrad.measure.per_layer import draws_of
from tf_approxgrad.measure.report import FidelityRow
from tf_approxgrad.measure.statistics import GradientStatistics
from tf_approxgrad.methods import FullGradient, GradientMethod


def measure_propagated(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    forward: Callable[[], Callable[[], object]],
    methods: Sequence[GradientMethod],
    steps: range,
) -> list[FidelityRow]:
    """Compares filter gradients behind approximate input gradients with the exact ones.

    Args:
        model: A built model.
        layers: Its convertible layers, by layer index. A method computes the input
            gradients of all of them at once.
        forward: Runs the forward pass and returns a function that runs the backward
            pass, any number of times.
        methods: The methods.
        steps: Steps at which methods that draw random numbers are computed.

    Returns:
        A row for each method and each layer that gets a filter gradient. Times are NaN.
    """
    with observed_layers(model, layers) as (observer, policies):
        backward = forward()
        exact = _filter_gradients(
            observer, policies, backward, FullGradient(), steps[0]
        )
        exact = {i: x for i, x in exact.items() if layers[i].trainable_weights}
        found = {
            (index, method): GradientStatistics(gradient)
            for index, gradient in exact.items()
            for method in methods
        }
        for method in methods:
            for step in draws_of(method, steps):
                gradients = _filter_gradients(
                    observer, policies, backward, method, step
                )
                for index in exact:
                    found[index, method].add(gradients[index])
    return [
        FidelityRow(
            layer=policies[index].layer_name,
            index=index,
            method=method,
            **statistics.numbers(),
            dense_ms=math.nan,
            method_ms=math.nan,
        )
        for (index, method), statistics in found.items()
    ]


def _filter_gradients(
    observer: Observer,
    policies: Mapping[int, LayerPolicy],
    backward: Callable[[], object],
    input_method: GradientMethod,
    step: int,
) -> dict[int, tf.Tensor]:
    """The filter gradients in one backward pass, by layer index."""
    at_step = tf.constant(step, tf.int64)
    observer.input_method, observer.step = input_method, at_step
    observer.filter_calls.clear()
    observer.input_calls.clear()
    backward()
    return {
        index: summed_gradient(observer.filter_calls[policy], FullGradient(), at_step)
        for index, policy in policies.items()
        if observer.filter_calls[policy]
    }
