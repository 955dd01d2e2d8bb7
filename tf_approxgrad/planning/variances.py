"""Variances of minibatch gradients, and those that methods add."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.gradients.extra_variance import extra_variances, square_sum
from tf_approxgrad.gradients.observer import Observer, observed_by
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.measure.backward_pass import backpropagate, preserved_state
from tf_approxgrad.measure.capture import temporary_policies
from tf_approxgrad.methods import ExactGradient, GradientMethod
from tf_approxgrad.planning.minibatches import Minibatch, size_of
from tf_approxgrad.planning.recorded_layers import (
    RecordedGeometry,
    geometry_of,
    is_reachable,
    needs_input_gradient,
)

# Extra variances differ less between minibatches than gradients do, and take longer.
_MINIBATCHES_OF_EXTRA = 3


@dataclasses.dataclass(frozen=True)
class LayerVariances:
    """Variances of a layer's filter gradient.

    Attributes:
        weights: Number of filter weights.
        minibatch: N = E|g_B - g|^2 of the exact minibatch gradient g_B.
        extra: V = E|a - g_B|^2 of each method's gradient a. It includes the squared
            bias of methods that have one.
    """

    weights: int
    minibatch: float
    extra: Mapping[GradientMethod, float]


@dataclasses.dataclass(frozen=True)
class Variances:
    """Variances of all of a model's gradients.

    Attributes:
        batch_size: Examples of a minibatch.
        weights: Number of trainable weights that get a gradient.
        minibatch: N of all of them.
        gradient_square: |g|^2 of all of them, g the expected gradient; at least 0.
        layers: Those of the measured layers, by layer index.
    """

    batch_size: int
    weights: int
    minibatch: float
    gradient_square: float
    layers: Mapping[int, LayerVariances]

    def tau(self, index: int, method: GradientMethod, by_layer: bool) -> float:
        """The extra variance of a layer's method over the minibatch variance.

        Args:
            index: Layer index.
            method: One of the measured methods; exact ones have none.
            by_layer: Whether each layer counts by its own variance ratio and its number
                of weights, as for optimizers that normalise gradients. Otherwise the
                variances of all weights are summed, as for SGD.
        """
        if method.is_exact:
            return 0.0
        layer = self.layers[index]
        extra = layer.extra[method]
        if extra == 0:
            return 0.0
        base = layer.minibatch if by_layer else self.minibatch
        share = layer.weights / self.weights if by_layer else 1.0
        return share * extra / base if base > 0 else np.inf

    @property
    def noise_batch(self) -> float:
        """B_noise = tr(Sigma) / |g|^2, the batch at which noise equals signal.

        0 if the signal is too small to be told from noise.
        """
        if self.gradient_square == 0:
            return 0.0
        return self.batch_size * self.minibatch / self.gradient_square


def normalises(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Whether an optimizer divides gradients by their own size, as Adam does."""
    inner = getattr(optimizer, "inner_optimizer", None) or optimizer
    return not isinstance(inner, keras.optimizers.SGD)


class VarianceMeter:
    """Measures variances, by a function that is traced once.

    Args:
        model: A built model.
        layers: Convertible layers that are trained, by layer index.
        candidates: Methods whose extra variance is measured.
        compute_loss: Called like the model's `compute_loss`, which is the default.
        with_calls: Whether to record gradients to time, one for each geometry.

    Attributes:
        unreachable: Indices of layers whose gradient isn't computed where it can be
            read, as in a conditional, or not at all; known after the first measurement.
        calls: Recorded gradients of one layer of each geometry.
        geometries: The geometry of each layer, by layer index.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Mapping[int, keras.layers.Layer],
        candidates: Sequence[GradientMethod],
        compute_loss: Callable[..., tf.Tensor] | None,
        with_calls: bool = False,
    ) -> None:
        self._model = model
        self._layers = layers
        self._candidates = list(candidates)
        self._compute_loss = compute_loss
        self._with_calls = with_calls
        self._function: Any = None
        self.unreachable: set[int] = set()
        self.calls: dict[Any, RecordedGeometry] = {}
        self.geometries: dict[int, Any] = {}

    def measure(
        self,
        minibatches: Iterable[Minibatch],
        step: int = 0,
    ) -> Variances:
        """Measures over minibatches, of which there are at least two.

        Args:
            minibatches: Minibatches of equal size.
            step: Training step, for methods that draw random numbers.

        Raises:
            ValueError: If a gradient isn't finite.
        """
        sums: list[tf.Tensor] | None = None
        squares, extra = [], []
        with preserved_state(self._model):
            for number, batch in enumerate(minibatches):
                if self._function is None:
                    self._function = self._trace(batch)
                with_extra = number < _MINIBATCHES_OF_EXTRA
                gradients, of_methods, tensors = self._function(
                    *batch,
                    tf.constant(step + number, tf.int64),
                    tf.constant(with_extra),
                )
                squares.append([float(square_sum(gradient)) for gradient in gradients])
                if not np.isfinite(squares[-1]).all():
                    raise ValueError(
                        f"minibatch {number + 1} of the data has gradients of model "
                        f"{self._model.name!r} that aren't finite: the data hold NaN "
                        "or infinity, or the model's training has diverged."
                    )
                if with_extra:
                    extra.append({i: v.numpy() for i, v in of_methods.items()})
                sums = gradients if sums is None else _added(sums, gradients)
                if number == 0:
                    for geometry, values in tensors.items():
                        self.calls[geometry].tensors = values
        assert sums is not None
        return self._summarised(size_of(batch), sums, np.array(squares), extra)

    def _trace(self, batch: Minibatch) -> Any:
        policies = {
            index: LayerPolicy(layer.name, ExactGradient(), index=index)
            for index, layer in self._layers.items()
        }
        weights = self._model.trainable_weights

        def measure(
            x: Any, y: Any, sample_weight: Any, step: tf.Tensor, with_extra: tf.Tensor
        ) -> Any:
            observer = Observer(set(policies.values()), filter_method=ExactGradient())
            observer.input_method = ExactGradient()
            with observed_by(observer):
                found = backpropagate(
                    self._model, x, y, sample_weight, self._compute_loss
                )
            self._trained = [
                weight
                for weight, gradient in zip(weights, found, strict=True)
                if gradient is not None
            ]
            gradients = [tf.convert_to_tensor(g) for g in found if g is not None]
            extra, tensors = {}, {}
            for index, policy in policies.items():
                calls = observer.filter_calls[policy]
                if not calls or not all(map(is_reachable, calls)):
                    self.unreachable.add(index)
                    continue
                extra[index] = tf.zeros([len(self._candidates)], tf.float64)
                if self._candidates:
                    extra[index] = tf.cond(
                        with_extra,
                        functools.partial(
                            extra_variances, calls, self._candidates, step
                        ),
                        functools.partial(tf.identity, extra[index]),
                    )
                if self._with_calls:
                    of_input = [
                        call if needs_input_gradient(call, weights) else None
                        for call in observer.input_calls[policy]
                    ]
                    key = (geometry_of(index, calls), any(of_input))
                    self.geometries[index] = key
                    if key not in self.calls:
                        geometry = RecordedGeometry(calls, of_input)
                        self.calls[key] = geometry
                        tensors[key] = geometry.tensors
            return gradients, extra, tensors

        function = tf.function(measure, autograph=False)
        scalars = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.bool))
        with (
            preserved_state(self._model),
            temporary_policies(self._layers, policies),
        ):
            return function.get_concrete_function(*map(specs_of, batch), *scalars)

    def _summarised(
        self,
        batch_size: int,
        sums: Sequence[tf.Tensor],
        squares: np.ndarray,
        extra: Sequence[Mapping[int, np.ndarray]],
    ) -> Variances:
        count = len(squares)
        of_means = np.array([float(square_sum(total)) for total in sums]) / count**2
        variance = (squares.sum(0) - count * of_means) / (count - 1)
        # Rounding can leave it slightly negative.
        variance = np.maximum(variance, 0.0)
        places = {id(weight): place for place, weight in enumerate(self._trained)}
        layers = {}
        for index in extra[0]:
            weight = filters_of(self._layers[index])
            if id(weight) not in places:
                self.unreachable.add(index)
                continue
            means = np.mean([values[index] for values in extra], axis=0)
            layers[index] = LayerVariances(
                int(np.prod(weight.shape)),
                float(variance[places[id(weight)]]),
                dict(zip(self._candidates, map(float, means), strict=True)),
            )
        total = float(variance.sum())
        return Variances(
            batch_size,
            int(sum(np.prod(weight.shape) for weight in self._trained)),
            total,
            max(float(of_means.sum()) - total / count, 0.0),
            layers,
        )


def filters_of(layer: keras.layers.Layer) -> Any:
    """The weight of a convolution whose gradient methods compute."""
    is_separable = isinstance(layer, keras.layers.SeparableConv2D)
    return layer.pointwise_kernel if is_separable else layer.kernel


def specs_of(part: Any) -> Any:
    """Specifications of a minibatch's tensors, for any number of examples."""
    return keras.tree.map_structure(
        lambda x: None if x is None else tf.TensorSpec([None, *x.shape[1:]], x.dtype),
        part,
    )


def _added(sums: Sequence[tf.Tensor], more: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [a + b for a, b in zip(sums, more, strict=True)]
