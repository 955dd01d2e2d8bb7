"""How far approximate input gradients change the filter gradients of a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tf_approxgrad.backprop import Backprop
from tf_approxgrad.fidelity_report import FidelityRow
from tf_approxgrad.filter_gradient import filter_gradient
from tf_approxgrad.gradient_statistics import GradientStatistics
from tf_approxgrad.input_gradient import input_gradient
from tf_approxgrad.layer_fidelity import draws_of
from tf_approxgrad.methods import FullGradient, GradientMethod, ZeroGradient
from tf_approxgrad.probe import Probe, probed
from tf_approxgrad.step_switch import Compute


def measure_propagated(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    forward: Callable[[], Callable[[], None]],
    methods: Sequence[GradientMethod],
    steps: range,
) -> list[FidelityRow]:
    """Measures exact filter gradients behind approximate input gradients.

    Args:
      model: A built model.
      layers: Convertible layers of it, by layer index. The input gradients of all of
        them are made by a method at the same time.
      forward: Runs the forward pass, and returns what runs the backward pass, as often
        as it is called.
      methods: The methods.
      steps: Where those are computed that draw.

    Returns:
      A row for each method and each layer that gets a filter gradient. Nothing is
      timed.
    """
    with probed(model, layers, _PropagationProbe) as every_probe:
        probes = dict(zip(layers, every_probe, strict=True))
        backward = forward()
        exact = _filter_gradients(probes, backward, FullGradient(), steps[0])
        exact = {i: x for i, x in exact.items() if layers[i].trainable_weights}
        found = {
            (index, method): GradientStatistics(gradient)
            for index, gradient in exact.items()
            for method in methods
        }
        for method in methods:
            for step in draws_of(method, steps):
                gradients = _filter_gradients(probes, backward, method, step)
                for index in exact:
                    found[index, method].add(gradients[index])
    return [
        FidelityRow(
            layer=probes[index].layer_name,
            index=index,
            method=method,
            **statistics.numbers(),
            dense_ms=math.nan,
            method_ms=math.nan,
        )
        for (index, method), statistics in found.items()
    ]


@dataclasses.dataclass(eq=False)
class _PropagationProbe(Probe):
    """Makes the input gradient by a method, and keeps the filter gradient of it."""

    def makes_input_gradient(self) -> bool:
        return True

    def filter_gradient(
        self, backprop: Backprop, compute: Compute = filter_gradient
    ) -> tf.Tensor:
        self.check_eager()
        self.calls.append((backprop, compute))
        return compute(ZeroGradient(), backprop)

    def input_gradient(
        self, backprop: Backprop, compute: Compute = input_gradient
    ) -> tf.Tensor:
        return compute(self.input_method or FullGradient(), self.placed(backprop))


def _filter_gradients(
    probes: Mapping[int, _PropagationProbe],
    backward: Callable[[], None],
    input_method: GradientMethod,
    step: int,
) -> dict[int, tf.Tensor]:
    """The filter gradients of the layers that get one, in one backward pass."""
    at_step = tf.constant(step, tf.int64)
    for probe in probes.values():
        probe.calls.clear()
        probe.input_method, probe.step = input_method, lambda: at_step
    backward()
    return {
        index: probe.gradient(FullGradient(), lambda: at_step)
        for index, probe in probes.items()
        if probe.calls
    }
