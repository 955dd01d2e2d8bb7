"""The arguments of `plan`, and errors that name them."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest
from planned_models import CLASSES, X, Y, classifier, compiled, make_plan

import tf_approxgrad as tfag

# --- Methods -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none allowed", "none given", "exact ones given"])
def test_plan_may_be_exact_alone(name: str) -> None:
    arguments: dict[str, Any] = {
        "none allowed": {"max_extra_variance": 0, "methods": None},
        "none given": {"methods": []},
        "exact ones given": {"methods": ["full", tfag.ExactGradient()]},
    }[name]
    plan = make_plan(compiled(), **arguments)
    assert all(layer.method.is_exact for layer in plan.layers)
    assert plan.tau == 0
    assert len(plan.curve) == 1


@pytest.mark.parametrize(
    "methods",
    [
        "max",
        tfag.MaxGradient(),
        ["max", {"class_name": "MaxGradient"}, "max"],
        (method for method in ("max",)),
    ],
    ids=["name", "method", "list", "generator"],
)
def test_methods_are_given_as_everywhere(methods: Any) -> None:
    if isinstance(methods, list):
        methods[1] = keras.saving.serialize_keras_object(tfag.MaxGradient())
    plan = make_plan(compiled(), methods=methods, max_extra_variance=1e9)
    for layer in plan.layers:
        assert layer.method.is_exact or layer.method == tfag.MaxGradient()


def test_progress_is_shown_only_if_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_plan(compiled())
    assert capsys.readouterr() == ("", "")
    make_plan(compiled(), verbose=True)
    assert "Plan" not in capsys.readouterr().out


# --- Refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_extra_variance": -0.1}, ValueError, "max_extra_variance must be a num"),
        ({"max_extra_variance": math.nan}, ValueError, "max_extra_variance must be"),
        ({"max_extra_variance": math.inf}, ValueError, "max_extra_variance must be"),
        ({"max_extra_variance": "5%"}, TypeError, "max_extra_variance must be"),
        ({"methods": "most"}, ValueError, "method must be .*got 'most'"),
        ({"methods": 3}, TypeError, "methods must be a list of gradient methods, got"),
        ({"methods": [3]}, TypeError, "method must be .*got 3"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 13}, ValueError, "the data hold 1 whole minibatches of batch_"),
        ({"loss": "most"}, ValueError, "loss='most' must be a loss as compile takes"),
        ({"y": Y[:5]}, ValueError, "equally many examples, got x 24, y 5"),
        ({"y": Y + CLASSES}, ValueError, "x, y and loss must fit model 'classifier'"),
        ({"y": None}, ValueError, r"\by\b"),
        ({"y": np.eye(5)[Y]}, ValueError, r"\by\b|target|labels|logits"),
        ({"x": X[:, :4, :, :1]}, ValueError, r"\bx\b|[Ii]nput"),
        ({"x": None}, TypeError, "x must be an array"),
        ({"x": X * np.nan}, ValueError, "minibatch 1 of the data has gradients of mod"),
    ],
)
def test_arguments_that_are_not_allowed_are_refused(
    arguments: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        make_plan(compiled(), **arguments)


def test_model_without_a_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="loss=None, but model 'classifier' isn't com"):
        make_plan(classifier())


def test_model_without_a_convolution_is_refused() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="dense")
    with pytest.raises(ValueError, match="model 'dense' has no convolution that can"):
        make_plan(model, X[:, 0, :2, 0], loss="mse")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (3, TypeError),
        (keras.layers.Conv2D(2, 3), TypeError),
        (keras.Sequential([keras.layers.Conv2D(2, 3)]), ValueError),
    ],
)
def test_what_is_no_built_model_is_refused(model: Any, error: type) -> None:
    with pytest.raises(error, match="model"):
        make_plan(model, loss="mse")


def test_plan_of_another_model_is_refused_by_name() -> None:
    plan = make_plan(compiled())
    other = dataclasses.replace(plan, layers=plan.layers[:1])
    with pytest.raises(ValueError, match="plan of model 'classifier' has 1 layers"):
        tfag.approximate_gradients(compiled(), other)
