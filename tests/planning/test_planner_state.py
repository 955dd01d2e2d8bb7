"""A plan leaves the model and all else of the user's as they were."""

import random
from collections.abc import Callable
from typing import Any

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf
from fidelity_checks import state, zoo_batch, zoo_loss
from in_place import assert_same_objects, attributes
from marks import slowly
from planned_models import CROSSENTROPY, X, Y, classifier, compiled, make_plan

import tf_approxgrad as tfag
from tf_approxgrad.planning import alternatives, meter, plan_maker, training_step

SCHEDULE = tfag.EveryNthStep("random", n=2)


def everything(model: keras.Model) -> Any:
    """The state of the model and of random numbers."""
    return (
        state(model),
        [variable.numpy() for variable in model.metrics_variables],
        [metric.name for metric in model.metrics],
        model.compiled,
        [layer.trainable for layer in model.layers],
    )


def assert_as_before(before: Any, model: keras.Model) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, before, everything(model))


def trained(is_converted: bool) -> tuple[keras.Model, list[keras.callbacks.Callback]]:
    """A model after three steps, and the callbacks of its training."""
    keras.utils.set_random_seed(7)
    model, callbacks = compiled(keras.optimizers.Adam(0.01)), []
    if is_converted:
        model = tfag.approximate_gradients(model, SCHEDULE)
        callbacks = [tfag.ApproximationCallback()]
    model.fit(X, Y, 8, callbacks=callbacks, verbose=0)
    return model, callbacks


conversions = pytest.mark.parametrize(
    "is_converted", [False, True], ids=["plain", "converted"]
)


@conversions
def test_trained_model_stays_as_it_was(is_converted: bool) -> None:
    model, _ = trained(is_converted)
    before, objects = everything(model), attributes(model)
    assert int(model.optimizer.iterations) == 3
    make_plan(model)
    assert_as_before(before, model)
    assert_same_objects(objects, attributes(model))


@pytest.mark.parametrize(
    "is_converted", [False, *slowly(True)], ids=["plain", "converted"]
)
@model_zoo.each_model_slowly
def test_model_of_each_kind_stays_as_it_was(
    make: Callable[[], keras.Model], is_converted: bool
) -> None:
    model = make()
    if is_converted:
        model = tfag.approximate_gradients(model, model_zoo.SCHEDULE)
    x, y = zoo_batch(model)
    model.compile("adam", zoo_loss(y), metrics=None)
    # The first of several losses makes their metrics.
    model.evaluate(x, y, verbose=0)
    before, outputs = everything(model), model_zoo.call(model)
    plan = make_plan(model, x, y, batch_size=3)
    assert plan.layers
    assert_as_before(before, model)
    model_zoo.assert_all_equal(outputs, model_zoo.call(model))


def test_model_that_is_not_compiled_stays_so() -> None:
    model = classifier()
    before = everything(model)
    make_plan(model, loss=CROSSENTROPY)
    assert_as_before(before, model)


@pytest.mark.parametrize(
    "is_converted", [True, *slowly(False)], ids=["converted", "plain"]
)
def test_training_goes_on_as_without_a_plan(is_converted: bool) -> None:
    results = []
    for planned in (False, True):
        model, callbacks = trained(is_converted)
        if planned:
            make_plan(model)
        history = model.fit(X, Y, 8, callbacks=callbacks, verbose=0, epochs=2)
        results.append((history.history, [v.numpy() for v in model.variables]))
    assert results[0][0] == results[1][0]
    model_zoo.assert_all_equal(results[0][1], results[1][1])


def test_loss_scale_stays_as_it_was() -> None:
    model = compiled("adam", dtype="mixed_float16")
    model.fit(X, Y, 8, verbose=0)
    before = everything(model)
    make_plan(model)
    assert_as_before(before, model)


def drawn() -> list[float]:
    """Numbers of all that draws them, from their states."""
    return [
        random.random(),
        np.random.normal(),
        float(tf.random.normal([])),
        float(keras.random.normal([])),
        float(keras.initializers.RandomNormal()([])),
        float(keras.layers.Dense(1).kernel_initializer([])),
    ]


def test_random_numbers_are_as_without_a_plan() -> None:
    found = []
    for planned in (False, True):
        keras.utils.set_random_seed(9)
        model = compiled()
        if planned:
            make_plan(model)
        found.append(drawn())
    assert found[0] == found[1]


def test_names_of_later_layers_are_as_without_a_plan() -> None:
    names = []
    for planned in (False, True):
        keras.backend.clear_session()
        model = compiled()
        if planned:
            make_plan(model)
        names.append([keras.layers.Conv2D(2, 3).name, keras.Model(name=None).name])
    assert names[0] == names[1]


# --- Errors --------------------------------------------------------------------------

# Where an error may be raised.
PLACES = {
    "first trace": (meter, "backpropagate"),
    "minibatches": (meter, "square_sum"),
    "layers": (plan_maker, "time_layer"),
    "trace of a step": (training_step, "backpropagate"),
    "steps": (plan_maker, "time_in_turns"),
    "choice": (plan_maker, "efficient_choices"),
    "alternatives": (plan_maker, "alternative_steps"),
    "end": (plan_maker, "explain_verdict"),
}


@pytest.mark.parametrize("error", [KeyboardInterrupt, *slowly(RuntimeError)])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "is_converted", [True, *slowly(False)], ids=["converted", "plain"]
)
def test_model_is_as_it_was_after_an_error(
    place: str, error: type, is_converted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = trained(is_converted)
    module, name = PLACES[place]
    original = getattr(module, name)

    def fail(*arguments: Any, **named: Any) -> None:
        original(*arguments, **named)
        raise error

    before, objects = everything(model), attributes(model)
    with monkeypatch.context() as patched:
        patched.setattr(module, name, fail)
        with pytest.raises(error):
            make_plan(model)
    assert_as_before(before, model)
    assert_same_objects(objects, attributes(model))


@pytest.mark.parametrize("name", ["_in_bfloat16", "part_of"])
def test_interrupt_among_the_alternatives_is_no_reason(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    model, _ = trained(is_converted=False)
    before = everything(model)
    monkeypatch.setattr(alternatives, name, interrupt)
    monkeypatch.setattr(alternatives, "_why_not_bfloat16", lambda model: None)
    with pytest.raises(KeyboardInterrupt):
        make_plan(model)
    assert_as_before(before, model)


def test_model_is_as_it_was_after_data_that_dont_fit() -> None:
    model, _ = trained(is_converted=True)
    before = everything(model)
    with pytest.raises(ValueError, match="x, y and loss must fit"):
        make_plan(model, y=Y + 100)
    assert_as_before(before, model)
