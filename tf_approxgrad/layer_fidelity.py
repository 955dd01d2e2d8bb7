"""A layer's own gradients by each method against the exact one, and their times."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from tf_approxgrad.fidelity_report import FidelityRow
from tf_approxgrad.gradient_statistics import GradientStatistics
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.probe import Probe, probed
from tf_approxgrad.timing import time_in_turns


def measure_layers(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    kind: type[Probe],
    forward: Callable[[], Callable[[], None]],
    methods: Sequence[GradientMethod],
    steps: range,
    repeats: int,
) -> list[FidelityRow]:
    """Measures the gradients that the probes keep.

    Args:
      model: A built model.
      layers: Convertible layers of it, by layer index.
      kind: The class of the probes, which says which gradient is measured.
      forward: Runs the forward pass, and returns what runs the backward pass.
      methods: The methods.
      steps: Where those are computed that draw.
      repeats: How often a time is measured.

    Returns:
      A row for each method and each layer that gets such a gradient.
    """
    with probed(model, layers, kind) as probes:
        forward()()
    return [
        row
        for index, probe in zip(layers, probes, strict=True)
        if probe.calls
        for row in _measure_layer(index, probe, methods, steps, repeats)
    ]


def draws_of(method: GradientMethod, steps: range) -> range:
    """The steps at which a method has to be computed."""
    return steps if method.needs_step else steps[:1]


def _measure_layer(
    index: int,
    probe: Probe,
    methods: Sequence[GradientMethod],
    steps: range,
    repeats: int,
) -> list[FidelityRow]:
    current = tf.Variable(steps[0], dtype=tf.int64, trainable=False)
    read_step = functools.partial(tf.convert_to_tensor, current)

    def draw(method: GradientMethod) -> Iterator[tf.Tensor]:
        for step in draws_of(method, steps):
            current.assign(step)
            yield probe.gradient(method, read_step)

    (exact,) = draw(FullGradient())
    numbers = {}
    for method in methods:
        found = GradientStatistics(exact)
        for gradient in draw(method):
            found.add(gradient)
        numbers[method] = found.numbers()
    ms = _milliseconds(probe, [FullGradient(), *methods], read_step, repeats)
    return [
        FidelityRow(
            layer=probe.layer_name,
            index=index,
            method=method,
            **numbers[method],
            dense_ms=ms[FullGradient()],
            method_ms=ms[method],
        )
        for method in methods
    ]


def _milliseconds(
    probe: Probe,
    methods: Iterable[GradientMethod],
    read_step: Callable[[], tf.Tensor],
    repeats: int,
) -> dict[GradientMethod, float]:
    """The median time of the layer's gradient by each method."""
    distinct = list(dict.fromkeys(methods))
    if not repeats:
        return dict.fromkeys(distinct, math.nan)

    def compiled(method: GradientMethod) -> Callable[[], object]:
        # One element alone is returned, as the gradient itself would take new memory
        # in every call. Reading it waits for a GPU.
        function = tf.function(
            lambda: tf.reshape(probe.gradient(method, read_step), [-1])[0],
            autograph=False,
        ).get_concrete_function()
        return lambda: function().numpy()

    functions = {method: compiled(method) for method in distinct}
    seconds = time_in_turns(functions, repeats)
    return {method: 1e3 * statistics.median(seconds[method]) for method in distinct}
