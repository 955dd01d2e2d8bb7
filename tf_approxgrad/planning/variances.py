"""Variances of minibatch gradients, and those that methods add."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from tf_approxgrad.methods import GradientMethod


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
            method: One of the measured methods; exact ones have none. Where a layer's
                gradient is zero, others have infinitely much.
            by_layer: Whether each layer counts by its own variance ratio and its number
                of weights, as for optimizers that normalise gradients. Otherwise the
                variances of all weights are summed, as for SGD.
        """
        if method.is_exact:
            return 0.0
        layer = self.layers[index]
        extra = layer.extra[method]
        base = layer.minibatch if by_layer else self.minibatch
        share = layer.weights / self.weights if by_layer else 1.0
        # A gradient that is zero now may not stay so.
        is_dead = layer.minibatch == 0 and extra == 0
        return np.inf if is_dead or base == 0 else share * extra / base

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
