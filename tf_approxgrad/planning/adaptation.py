"""Choices for the layers of a model, made again while it trains."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.conversion.exact_kernels import convolution_sizes
from tf_approxgrad.conversion.step_binding import require_approximated_layers
from tf_approxgrad.gradients import exact
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.inputs import GradientInputs
from tf_approxgrad.gradients.kernel_choice import ConvolutionSizes
from tf_approxgrad.gradients.method_choice import MethodChoice
from tf_approxgrad.gradients.observer import RecordedCall
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import ExactGradient, GradientMethod
from tf_approxgrad.planning.candidates import layer_candidates
from tf_approxgrad.planning.choice import best_choice, efficient_choices
from tf_approxgrad.planning.timings import LayerTimes, time_layer
from tf_approxgrad.planning.training_step import (
    is_compiled_by_xla,
    preserved_random_state,
)
from tf_approxgrad.planning.variances import LayerVariances, Variances, normalises


@dataclasses.dataclass(frozen=True)
class Decision:
    """Methods from a training step on.

    Attributes:
        step: The step.
        methods: Methods of the layers that aren't exact, by layer index.
        speed_up: Predicted speed-up over exact gradients by the fastest kernels.
        tau: Extra variance over the minibatch variance.
    """

    step: int
    methods: Mapping[int, GradientMethod]
    speed_up: float
    tau: float

    @property
    def net(self) -> float:
        """Net gain, `speed_up / (1 + tau)`."""
        return self.speed_up / (1 + self.tau)


class Adaptation:
    """Chooses the methods of a converted model's layers from what its steps measure.

    Layers stay exact if their sizes aren't known before they are called, if they are
    frozen, or are called more than once in a step.

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
        self._converted = require_approximated_layers(model)
        self._by_layer = normalises(optimizer)
        self._candidates = list(candidates)
        self._bound = max_extra_variance
        self._layers: dict[int, ApproximateLayer] = {}
        self._sizes: dict[int, ConvolutionSizes] = {}
        self.choices: dict[int, MethodChoice] = {}
        for layer in self._converted:
            sizes = convolution_sizes(layer)
            index = layer.gradient_policy.index
            if sizes is None or None in (*sizes.input[1:], *sizes.filters):
                continue
            self._layers[index], self._sizes[index] = layer, sizes
            self.choices[index] = MethodChoice(
                [ExactGradient(), *self._candidates], [x or 0 for x in sizes.filters]
            )
        self.times: dict[int, LayerTimes] = {}

    def fits(self, optimizer: keras.optimizers.Optimizer) -> bool:
        """Whether an optimizer and the model's converted layers are the same still."""
        converted = require_approximated_layers(self._model)
        return optimizer is self._optimizer and list(map(id, converted)) == list(
            map(id, self._converted)
        )

    def attach(self) -> None:
        """Lets the layers follow the choices; their steps must be traced afterwards."""
        for index, choice in self.choices.items():
            self._layers[index].gradient_policy.choice = choice

    def measure(self, step: int) -> None:
        """Measures variances from a training step on."""
        for choice in self.choices.values():
            choice.measure(step)

    @property
    def passes(self) -> int:
        """Number of backward passes since `measure`, of most layers."""
        passes = [choice.passes for choice in self.choices.values()]
        return int(statistics.median_low(passes)) if passes else 0

    def apply(self, decision: Decision | None, step: int) -> None:
        """Chooses the methods of a decision, exact ones without, from a step on."""
        methods = {} if decision is None else decision.methods
        for index, choice in self.choices.items():
            choice.choose(methods.get(index, ExactGradient()), step)

    def decide(
        self, step: int, step_ms: float, before: Decision | None = None
    ) -> Decision:
        """Decides by the variances since `measure`.

        Args:
            step: The next training step.
            step_ms: Time of a training step with the decision before.
            before: That decision; `None` means exact gradients.
        """
        passes = self.passes
        found = {
            index: choice.variances()
            for index, choice in self.choices.items()
            if choice.passes == passes
        }
        if not found or passes < 2:
            return Decision(step, {}, 1.0, 0.0)
        batch_size = next(iter(found.values())).batch_size
        self._time(found, batch_size)
        exact_step_ms = step_ms + (0.0 if before is None else self._saved_ms(before))
        layers = {
            index: LayerVariances(
                math.prod(size or 0 for size in self._sizes[index].filters),
                measured.minibatch,
                measured.extra,
            )
            for index, measured in found.items()
        }
        variances = Variances(
            batch_size,
            sum(int(np.prod(w.shape)) for w in self._model.trainable_weights),
            sum(layer.minibatch for layer in layers.values()),
            0.0,
            layers,
        )
        options = [
            layer_candidates(
                self.times[index],
                functools.partial(variances.tau, index, by_layer=self._by_layer),
            )
            for index in layers
        ]
        of_layers = sum(self.times[i].of(ExactGradient()) for i in layers)
        choices = efficient_choices(exact_step_ms - of_layers, options)
        best = best_choice(choices, self._bound)
        methods = {
            index: candidate.method
            for index, candidate in zip(layers, best.candidates, strict=True)
            if not candidate.method.is_exact
        }
        return Decision(step, methods, exact_step_ms / best.step_ms, best.tau)

    def _saved_ms(self, decision: Decision) -> float:
        """Time that a decision saves in a step, in milliseconds."""
        return sum(
            self.times[index].of(ExactGradient()) - self.times[index].of(method)
            for index, method in decision.methods.items()
            if index in self.times
        )

    def _time(self, indices: Mapping[int, object], batch_size: int) -> None:
        """Times the gradients of layers that weren't timed yet, on random tensors."""
        by_sizes: dict[ConvolutionSizes, LayerTimes] = {
            self._sizes[index]: times for index, times in self.times.items()
        }
        for index in indices:
            sizes = self._sizes[index]
            if sizes not in by_sizes:
                with preserved_random_state():
                    by_sizes[sizes] = time_layer(
                        [_random_call(sizes, batch_size)],
                        [],
                        [ExactGradient()],
                        self._candidates,
                        is_compiled_by_xla(self._model),
                    )
            self.times[index] = by_sizes[sizes]


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
