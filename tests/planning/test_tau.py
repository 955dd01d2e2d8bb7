"""Extra variance in the optimizer's metric."""

import math
from typing import Any

import keras
import pytest

import tf_approxgrad as tfag
from tf_approxgrad.planning.variances import LayerVariances, Variances, normalises

ROWS = tfag.RowSampledGradient(0.5)
OTHER = tfag.RowSampledGradient(0.25)


def variances(minibatch: float = 8.0, gradient_square: float = 0.5) -> Variances:
    """Those of two layers of 30 and 50 of a model's 100 weights."""
    return Variances(
        batch_size=32,
        weights=100,
        minibatch=minibatch,
        gradient_square=gradient_square,
        layers={
            1: LayerVariances(30, 2.0, {ROWS: 0.4, OTHER: 0.0}),
            2: LayerVariances(50, 0.0, {ROWS: 0.1, OTHER: 0.0}),
        },
    )


def test_tau_for_sgd_is_a_part_of_the_sum_over_all_weights() -> None:
    found = variances()
    assert found.tau(1, ROWS, by_layer=False) == pytest.approx(0.4 / 8)
    assert found.tau(2, ROWS, by_layer=False) == pytest.approx(0.1 / 8)


def test_tau_for_adam_is_the_layers_own_by_its_share_of_the_weights() -> None:
    assert variances().tau(1, ROWS, by_layer=True) == pytest.approx(0.3 * 0.4 / 2)


@pytest.mark.parametrize("by_layer", [False, True])
def test_tau_of_exact_methods_and_without_extra_variance_is_zero(
    by_layer: bool,
) -> None:
    found = variances()
    for method in (tfag.FullGradient(), tfag.ExactGradient(), OTHER):
        assert found.tau(1, method, by_layer) == 0
    # A gradient that is zero in all minibatches may not stay so.
    assert found.tau(2, OTHER, by_layer) == math.inf


def test_tau_without_minibatch_variance_is_infinite() -> None:
    assert variances().tau(2, ROWS, by_layer=True) == math.inf
    assert variances(minibatch=0.0).tau(1, ROWS, by_layer=False) == math.inf


def test_noise_batch_is_that_at_which_noise_equals_signal() -> None:
    # N = tr(Sigma) / B, so that B_noise = B * N / |g|^2.
    assert variances().noise_batch == pytest.approx(32 * 8 / 0.5)
    assert variances(gradient_square=0.0).noise_batch == 0


class OwnSGD(keras.optimizers.SGD):
    """A user's optimizer."""


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (keras.optimizers.SGD, False),
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), False),
        (OwnSGD, False),
        (keras.optimizers.Adam, True),
        (keras.optimizers.AdamW, True),
        (keras.optimizers.RMSprop, True),
        (keras.optimizers.Lion, True),
        # What a plan's steps use where there is no optimizer.
        (lambda: None, True),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_optimizers_that_normalise_gradients_are_told_from_sgd(
    make: Any, expected: bool, is_wrapped: bool
) -> None:
    optimizer = make()
    if is_wrapped and optimizer is not None:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    assert normalises(optimizer) == expected
