"""Measurement of variances, by functions that are traced once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.gradients.extra_variance import extra_variances, square_sum
from tf_approxgrad.gradients.observer import Observer, RecordedCall, observed_by
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.measure.backward_pass import backpropagate, preserved_state
from tf_approxgrad.measure.capture import temporary_policies
from tf_approxgrad.methods import ExactGradient, GradientMethod
from tf_approxgrad.planning.figures import filters_of
from tf_approxgrad.planning.minibatches import Minibatch, size_of, specs_of
from tf_approxgrad.planning.recorded_layers import (
    RecordedGeometry,
    geometry_of,
    is_reachable,
    needs_input_gradient,
)
from tf_approxgrad.planning.training_step import explained
from tf_approxgrad.planning.variances import LayerVariances, Variances


class VarianceMeter:
    """Measures variances of a model's gradients.

    Args:
        model: A built model.
        layers: All convertible layers, by layer index. Those that aren't trained have
            no variances.
        compute_loss: Called like the model's `compute_loss`, which is the default.

    Attributes:
        calls: Recorded gradients of one layer of each geometry, after
            `measure_minibatches`.
        geometries: The geometry of each layer, by layer index. Layers whose gradient
            isn't computed where it can be read, as in a conditional, have none.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Mapping[int, keras.layers.Layer],
        compute_loss: Callable[..., tf.Tensor] | None,
    ) -> None:
        self._model, self._layers = model, layers
        self._compute_loss = compute_loss
        self.calls: dict[Any, RecordedGeometry] = {}
        self.geometries: dict[int, Any] = {}

    def measure_minibatches(self, minibatches: Iterable[Minibatch]) -> Variances:
        """Measures the minibatch variance, without extra ones.

        Args:
            minibatches: At least two minibatches of equal size.

        Raises:
            ValueError: If a gradient isn't finite.
        """
        function: Any = None
        sums: list[tf.Tensor] = []
        squares = []
        with preserved_state(self._model):
            for number, batch in enumerate(minibatches):
                with explained(self._model):
                    if function is None:
                        function = self._trace(batch, self._minibatch_gradients)
                    gradients, tensors = function(*batch, tf.constant(number, tf.int64))
                squares.append([float(square_sum(gradient)) for gradient in gradients])
                if not np.isfinite(squares[-1]).all():
                    raise ValueError(
                        f"minibatch {number + 1} of the data has gradients of model "
                        f"{self._model.name!r} that aren't finite: the data hold NaN "
                        "or infinity, the training has diverged, or, in float16, the "
                        "loss scale is still too large: train some steps first."
                    )
                if number == 0:
                    sums = gradients
                    for recorded, values in zip(
                        self.calls.values(), tensors, strict=True
                    ):
                        recorded.tensors = values
                else:
                    sums = [a + b for a, b in zip(sums, gradients, strict=True)]
        return self._summarised(size_of(batch), sums, np.array(squares))

    def measure_extra(
        self,
        variances: Variances,
        minibatches: Sequence[Minibatch],
        candidates: Mapping[int, Sequence[GradientMethod]],
    ) -> Variances:
        """Adds extra variances to a result of `measure_minibatches`.

        Args:
            variances: The result.
            minibatches: Minibatches.
            candidates: Methods, by layer index.
        """
        candidates = {i: methods for i, methods in candidates.items() if methods}
        if not candidates:
            return variances

        def of_candidates(
            calls: Mapping[int, Sequence[RecordedCall]],
            inputs: Mapping[int, Sequence[RecordedCall]],
            gradients: Sequence[Any],
            step: tf.Tensor,
        ) -> Any:
            del inputs, gradients
            return {
                index: extra_variances(calls[index], methods, step)
                for index, methods in candidates.items()
            }

        function = self._trace(minibatches[0], of_candidates)
        sums = {index: np.zeros(len(methods)) for index, methods in candidates.items()}
        with preserved_state(self._model):
            for step, batch in enumerate(minibatches):
                found = function(*batch, tf.constant(step, tf.int64))
                for index, values in found.items():
                    sums[index] += values.numpy() / len(minibatches)
        layers = dict(variances.layers)
        for index, methods in candidates.items():
            extra = dict(zip(methods, map(float, sums[index]), strict=True))
            layers[index] = dataclasses.replace(layers[index], extra=extra)
        return dataclasses.replace(variances, layers=layers)

    def _trace(self, batch: Minibatch, compute: Callable[..., Any]) -> Any:
        """A function of a minibatch and a step that computes what it records.

        Args:
            batch: A minibatch, for shapes and dtypes.
            compute: Called with the recorded filter and input gradients of the layers,
                by layer index, the gradients of all weights, and the step.
        """
        policies = {
            index: LayerPolicy(layer.name, ExactGradient(), index=index)
            for index, layer in self._layers.items()
        }

        def measure(x: Any, y: Any, sample_weight: Any, step: tf.Tensor) -> Any:
            observer = Observer(set(policies.values()), filter_method=ExactGradient())
            observer.input_method = ExactGradient()
            with observed_by(observer):
                gradients = backpropagate(
                    self._model, x, y, sample_weight, self._compute_loss
                )
            filter_calls, input_calls = (
                {index: calls[policy] for index, policy in policies.items()}
                for calls in (observer.filter_calls, observer.input_calls)
            )
            return compute(filter_calls, input_calls, gradients, step)

        with (
            preserved_state(self._model),
            temporary_policies(self._layers, policies),
        ):
            return tf.function(measure, autograph=False).get_concrete_function(
                *map(specs_of, batch), tf.TensorSpec([], tf.int64)
            )

    def _minibatch_gradients(
        self,
        filter_calls: Mapping[int, Sequence[RecordedCall]],
        input_calls: Mapping[int, Sequence[RecordedCall]],
        gradients: Sequence[Any],
        step: tf.Tensor,
    ) -> Any:
        """The gradients, and tensors to time the layers' gradients with."""
        del step
        # A function that creates variables is traced twice.
        self.calls.clear()
        self.geometries.clear()
        weights = self._model.trainable_weights
        trained = [
            (weight, tf.convert_to_tensor(gradient))
            for weight, gradient in zip(weights, gradients, strict=True)
            if gradient is not None
        ]
        self._trained = [weight for weight, _ in trained]
        known = set(map(id, self._trained))
        for index, calls in filter_calls.items():
            is_trained = id(filters_of(self._layers[index])) in known
            if not calls or not is_trained or not all(map(is_reachable, calls)):
                continue
            of_input = [
                call if needs_input_gradient(call, weights) else None
                for call in input_calls[index]
            ]
            key = (geometry_of(index, calls), any(of_input))
            self.geometries[index] = key
            if key not in self.calls:
                self.calls[key] = RecordedGeometry(calls, of_input)
        tensors = [recorded.tensors for recorded in self.calls.values()]
        return [gradient for _, gradient in trained], tensors

    def _summarised(
        self, batch_size: int, sums: Sequence[tf.Tensor], squares: np.ndarray
    ) -> Variances:
        count = len(squares)
        of_means = np.array([float(square_sum(total)) for total in sums]) / count**2
        variance = (squares.sum(0) - count * of_means) / (count - 1)
        # Rounding can leave it slightly negative.
        variance = np.maximum(variance, 0.0)
        places = {id(weight): place for place, weight in enumerate(self._trained)}
        layers = {}
        for index in self.geometries:
            weight = filters_of(self._layers[index])
            of_layer = float(variance[places[id(weight)]])
            layers[index] = LayerVariances(int(np.prod(weight.shape)), of_layer, {})
        total = float(variance.sum())
        return Variances(
            batch_size,
            int(sum(np.prod(weight.shape) for weight in self._trained)),
            total,
            max(float(of_means.sum()) - total / count, 0.0),
            layers,
        )
