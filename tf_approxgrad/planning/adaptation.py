"""Choices for the layers of a model, made again while it trains."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.conversion.exact_kernels import convolution_sizes
from tf_approxgrad.conversion.step_binding import require_approximated_layers
from tf_approxgrad.gradients import exact
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.inputs import GradientInputs
from tf_approxgrad.gradients.kernel_choice import WINOGRAD, ConvolutionSizes
from tf_approxgrad.gradients.method_choice import MethodChoice
from tf_approxgrad.gradients.observer import RecordedCall
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import ExactGradient, GradientMethod, TileSampledGradient
from tf_approxgrad.planning.candidates import faster_methods, layer_candidates
from tf_approxgrad.planning.choice import best_choice, efficient_choices, exact_choice
from tf_approxgrad.planning.decisions import Decision
from tf_approxgrad.planning.figures import filters_of
from tf_approxgrad.planning.timings import LayerTimes, time_layer
from tf_approxgrad.planning.training_step import (
    is_compiled_by_xla,
    preserved_random_state,
)
from tf_approxgrad.planning.variances import LayerVariances, Variances, normalises


class Adaptation:
    """Chooses the methods of a converted model's layers from what its steps measure.

    Layers stay exact if their sizes aren't known before they are called, if they aren't
    trained, or are called more than once in a step.

    Args:
        model: A model with converted layers.
        optimizer: The optimizer that trains it.
        candidates: Methods to choose from, besides the exact ones.
        max_extra_variance: Bound of tau.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        candidates: Sequence[GradientMethod],
        max_extra_variance: float,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._by_layer = normalises(optimizer)
        self._bound = max_extra_variance
        self._layers = _adaptable_layers(model)
        self._sizes: dict[int, ConvolutionSizes] = {}
        self._choices: dict[int, MethodChoice] = {}
        for index, layer in self._layers.items():
            sizes = convolution_sizes(layer)
            assert sizes is not None
            has_tiles = sizes.kernel_of(ExactGradient()) == WINOGRAD
            methods = [
                method
                for method in candidates
                if has_tiles or not isinstance(method, TileSampledGradient)
            ]
            self._sizes[index] = sizes
            self._choices[index] = MethodChoice(
                [ExactGradient(), *methods], [size or 0 for size in sizes.filters]
            )
        self._times: dict[int, LayerTimes] = {}
        self._timed_batch = 0

    def fits(self, optimizer: keras.optimizers.Optimizer) -> bool:
        """Whether an optimizer and the layers that can adapt are the same still."""
        layers = _adaptable_layers(self._model)
        return optimizer is self._optimizer and layers == self._layers

    def attach(self) -> None:
        """Lets the layers follow the choices; their steps must be traced afterwards."""
        for layer in require_approximated_layers(self._model):
            layer.gradient_policy.choice = None
        for index, choice in self._choices.items():
            self._layers[index].gradient_policy.choice = choice

    def measure(self, step: int) -> None:
        """Measures variances from a training step on."""
        for choice in self._choices.values():
            choice.measure(step)

    def apply(self, decision: Decision | None, step: int) -> None:
        """Chooses the methods of a decision, exact ones without, from a step on."""
        methods = {} if decision is None else decision.methods
        for index, choice in self._choices.items():
            method = methods.get(index, ExactGradient())
            is_known = method in choice.methods
            choice.choose(method if is_known else ExactGradient(), step)

    def decide(
        self, step: int, passes: int, step_ms: float, before: Decision | None
    ) -> Decision | None:
        """Decides by the variances since `measure`.

        Args:
            step: The next training step.
            passes: Number of steps since `measure`, at least 2.
            step_ms: Time of a training step with the decision before.
            before: That decision; `None` means exact gradients.

        Returns:
            The decision; `None` if variances aren't finite, as where gradients overflow
            in float16.
        """
        found = {
            index: choice.variances()
            for index, choice in self._choices.items()
            if choice.passes == passes
        }
        if not found:
            return Decision(step, {}, 1.0, 0.0)
        layers = {
            index: LayerVariances(
                math.prod(size or 0 for size in self._sizes[index].filters),
                measured.minibatch,
                measured.extra,
            )
            for index, measured in found.items()
        }
        batch_size = max(measured.batch_size for measured in found.values())
        variances = Variances(
            batch_size,
            sum(math.prod(w.shape) for w in self._model.trainable_weights),
            sum(layer.minibatch for layer in layers.values()),
            0.0,
            layers,
        )
        values = [x for layer in layers.values() for x in layer.extra.values()]
        if not np.isfinite([variances.minibatch, *values]).all():
            return None
        self._time(list(layers), batch_size)
        options = [
            layer_candidates(
                self._times[index],
                faster_methods(self._times[index]),
                functools.partial(variances.tau, index, by_layer=self._by_layer),
            )
            for index in layers
        ]
        exact_step_ms = step_ms + (0.0 if before is None else self._saved_ms(before))
        of_layers = sum(self._times[i].of(ExactGradient()) for i in layers)
        other_ms = exact_step_ms - of_layers
        best = best_choice(
            exact_choice(other_ms, options),
            efficient_choices(other_ms, options, self._bound),
            self._bound,
        )
        methods = {
            index: candidate.method
            for index, candidate in zip(layers, best.candidates, strict=True)
            if not candidate.method.is_exact
        }
        return Decision(step, methods, exact_step_ms / best.step_ms, best.tau)

    def _saved_ms(self, decision: Decision) -> float:
        """Time that a decision saves in a step, in milliseconds, where it is known."""
        return sum(
            self._times[index].of(ExactGradient()) - self._times[index].of(method)
            for index, method in decision.methods.items()
            if index in self._times and method in self._times[index].filter
        )

    def _time(self, indices: Sequence[int], batch_size: int) -> None:
        """Times the gradients of layers that weren't timed yet, on random tensors."""
        if batch_size > self._timed_batch:
            self._times, self._timed_batch = {}, batch_size
        by_sizes = {self._sizes[index]: times for index, times in self._times.items()}
        for index in indices:
            sizes = self._sizes[index]
            if sizes not in by_sizes:
                with preserved_random_state():
                    by_sizes[sizes] = time_layer(
                        [_random_call(sizes, self._timed_batch)],
                        [],
                        [ExactGradient()],
                        self._choices[index].methods[1:],
                        is_compiled_by_xla(self._model),
                    )
            self._times[index] = by_sizes[sizes]


def _adaptable_layers(model: keras.Model) -> dict[int, ApproximateLayer]:
    """The layers of known sizes whose filters are trained, by layer index."""
    trained = set(map(id, model.trainable_weights))
    found = {}
    for layer in require_approximated_layers(model):
        sizes = convolution_sizes(layer)
        if sizes is None or None in (*sizes.input[1:], *sizes.filters):
            continue
        if id(filters_of(layer)) in trained:
            found[layer.gradient_policy.index] = layer
    return found


def _random_call(sizes: ConvolutionSizes, batch_size: int) -> RecordedCall:
    """A filter gradient of a convolution of these sizes, of a rectified input."""
    generator = np.random.default_rng(0)

    def normal(shape: Sequence[int | None]) -> tf.Tensor:
        values = generator.standard_normal([int(size or 0) for size in shape])
        return tf.cast(values, sizes.dtype)

    input = tf.nn.relu(normal([batch_size, *sizes.input[1:]]))
    filters = normal(sizes.filters)
    out_backprop = normal(exact.convolution(input, filters, sizes.arguments).shape)
    inputs = GradientInputs(
        input,
        tf.constant(sizes.filters, tf.int32),
        out_backprop,
        sizes.arguments,
        filters,
        layer=1,
        stream=1,
    )
    return RecordedCall(inputs, filter_gradient)
