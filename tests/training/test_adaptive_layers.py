"""Which layers `AdaptivePlan` approximates."""

import pytest
from adaptive_models import BATCH, conv, data, model_of

import tf_approxgrad as tfag

pytestmark = pytest.mark.usefixtures("sampling_is_fast")


def test_layers_that_are_called_twice_stay_exact() -> None:
    twice = conv()
    model = model_of(twice, twice, conv(), conv())
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.methods
    assert set(adaptive.decision.methods) <= {2, 3}


def test_a_model_of_layers_that_are_called_twice_stays_exact() -> None:
    twice = conv()
    model = model_of(twice, twice)
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert adaptive.decision.methods == {}


def test_frozen_layers_stay_out() -> None:
    model = model_of(*(conv(trainable=False) for _ in range(3)), conv())
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert set(adaptive.decision.methods) == {4}
    choices = [
        layer.gradient_policy.choice
        for layer in model.layers
        if hasattr(layer, "gradient_policy")
    ]
    assert [choice is None for choice in choices] == [True, True, True, False]


def test_layers_are_thawed_between_fits() -> None:
    model = model_of(conv(trainable=False), conv())
    adaptive = tfag.AdaptivePlan(max_extra_variance=0.5)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    model.layers[1].trainable = True
    model.compile("adam", model.loss)
    model.fit(*data(), BATCH, callbacks=[adaptive], verbose=0)
    assert adaptive.decision is not None
    assert set(adaptive.decision.methods) <= {1, 2}
    assert model.layers[1].gradient_policy.choice is not None
