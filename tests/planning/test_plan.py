"""`Plan` as a schedule: its methods, the models that it fits, and training by it."""

import dataclasses
import pickle
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from plans import FILTERS, METHODS, ROWS, X, Y, plan_by_hand, planned_model

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.planning.figures import Alternative, filters_shape
from tf_approxgrad.utils import machine

# --- A schedule ----------------------------------------------------------------------


def test_methods_are_those_of_the_layers_at_every_step() -> None:
    plan = plan_by_hand()
    for index, method in enumerate(METHODS, start=1):
        assert {plan(index, step) for step in (0, 1, 10**9)} == {method}
        assert plan(index, 3, replica=2) == method
        assert plan.row(index) == (method,)
        assert plan.column(123) == 0
    assert (plan.prefix, plan.period) == (0, 1)
    assert plan.fraction(layers=3) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ((0, 0), "layer must be an integer >= 1, got 0"),
        ((4, 0), "layer must be from 1 to 3, the number of the plan's layers, got 4"),
        ((1, -1), "step must be an integer >= 0, got -1"),
        ((1, 0, -1), "replica must be an integer >= 0, got -1"),
    ],
)
def test_cells_outside_the_plan_are_refused(cell: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_by_hand()(*cell)


def test_preview_shows_the_methods() -> None:
    lines = plan_by_hand().preview(layers=3, steps=2).splitlines()
    assert [line.split()[0] for line in lines] == ["layer/step", "1", "2", "3"]
    assert lines[2].count(ROWS.label) == 2


def test_input_gradients_of_a_plan_are_exact() -> None:
    assert plan_by_hand().input_gradient == tfag.ExactGradient()


def test_schedule_of_a_plan_has_its_methods_and_fits_models_of_as_many_layers() -> None:
    schedule = plan_by_hand().schedule
    assert isinstance(schedule, tfag.TableSchedule)
    assert [schedule(index, 7) for index in (1, 2, 3)] == list(METHODS)
    other = planned_model(((5, 5, 1, 2), (1, 1, 2, 2), (3, 3, 2, 1)))
    tfag.approximate_gradients(other, schedule)
    assert [x.gradient_policy.method_at(0) for x in other.layers] == list(METHODS)


def test_composes_with_other_schedules() -> None:
    schedule = tfag.Warmup(plan_by_hand(), begin=3)
    assert schedule(2, 2).is_exact
    assert schedule(2, 3) == ROWS


# --- Numbers -------------------------------------------------------------------------


def test_derived_numbers_follow_from_those_measured() -> None:
    plan = plan_by_hand()
    assert plan.net == pytest.approx(1.1234 / 1.0213)
    assert plan.predicted_speed_up == pytest.approx(31 / 26)
    assert plan.effective_batch == pytest.approx(64 / 1.0213)
    assert plan.alternatives[0].net == pytest.approx(0.95)
    assert Alternative("another", 1.5).net == 1.5


def test_plans_are_values() -> None:
    plan = plan_by_hand()
    assert plan == plan_by_hand()
    assert hash(plan) == hash(plan_by_hand())
    assert plan != plan_by_hand(tau=0.02)
    assert pickle.loads(pickle.dumps(plan)) == plan
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.tau = 0.5  # type: ignore[misc]


# --- Models --------------------------------------------------------------------------


def test_plan_of_a_model_with_as_many_filters_fits() -> None:
    plan = plan_by_hand()
    assert plan.resolve(convertible_layers(planned_model())) is plan


@pytest.mark.parametrize("filters", [FILTERS[:2], [*FILTERS, (1, 1, 2, 2)]])
def test_model_with_another_number_of_layers_is_refused(filters: Any) -> None:
    layers = [keras.layers.Conv2D(2, 1, name=f"layer{n}") for n in range(len(filters))]
    message = (
        r"the plan of model 'small' has 3 layers, but the model has "
        rf"{len(filters)} convertible ones \(layer0, layer1.*make a plan"
    )
    with pytest.raises(ValueError, match=message):
        plan_by_hand().resolve(layers)


def test_model_with_other_filters_is_refused_and_stays_as_it_was() -> None:
    model = planned_model((FILTERS[0], (3, 3, 3, 6), (1, 1, 6, 2)))
    message = (
        r"filters of shape \(3, 3, 3, 4\) in layer 2 \('second'\), but layer 'second' "
        r"has \(3, 3, 3, 6\): make a plan for this model"
    )
    with pytest.raises(ValueError, match=message):
        tfag.approximate_gradients(model, plan_by_hand())
    assert [type(layer) for layer in model.layers] == [keras.layers.Conv2D] * 3


def test_layers_without_filters_fit_by_their_number() -> None:
    layers = [keras.layers.Conv2D(2, 1, name=f"layer{n}") for n in range(3)]
    assert [filters_shape(layer) for layer in layers] == [()] * 3
    plan_by_hand().resolve(layers)
    with pytest.raises(TypeError, match="layers must be a sequence"):
        plan_by_hand().resolve(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one convertible convolution"):
        plan_by_hand().resolve([])


def test_filters_of_a_separable_convolution_are_its_pointwise_ones() -> None:
    layer = keras.layers.SeparableConv2D(5, 3)
    layer.build((None, 8, 8, 2))
    assert filters_shape(layer) == (1, 1, 2, 5)


def test_plan_of_another_machine_warns_and_works() -> None:
    plan = plan_by_hand(machine="Another CPU, 64 threads")
    message = r"made on 'Another CPU, 64 threads', and this is .*Make another"
    model = planned_model()
    with pytest.warns(UserWarning, match=message) as warned:
        tfag.approximate_gradients(model, plan)
    assert len(warned) == 1
    # It points at the user's line.
    assert warned[0].filename == __file__
    assert [x.gradient_policy.method_at(0) for x in model.layers] == list(METHODS)


def test_plan_of_this_machine_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfag.approximate_gradients(planned_model(), plan_by_hand())


def test_machine_is_named_by_its_processor_and_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = machine.machine_name()
    assert name.startswith(machine.cpu_name() + ", ")
    assert name == machine.machine_name()
    assert "threads" in name
    monkeypatch.setattr(
        machine.tf.config.threading, "get_intra_op_parallelism_threads", lambda: 3
    )
    assert ", 3 threads" in machine.machine_name.__wrapped__()


def test_processor_has_a_name_without_proc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "missing")
    assert isinstance(machine.cpu_name(), str)
    assert machine.cpu_flags.__wrapped__() == frozenset()


# --- Training ------------------------------------------------------------------------


def test_converted_layers_have_the_methods_and_exact_input_gradients() -> None:
    model = tfag.approximate_gradients(planned_model(), plan_by_hand())
    policies = [layer.gradient_policy for layer in model.layers]
    assert [policy.method_at(0) for policy in policies] == list(METHODS)
    exact = [layer.input_gradient for layer in model.layers]
    assert exact == [tfag.ExactGradient()] * 3
    other = tfag.approximate_gradients(
        planned_model(), plan_by_hand(), input_gradient=tfag.SampledGradient()
    )
    assert other.layers[1].input_gradient == tfag.SampledGradient()


def fit(
    model: keras.Model, callback: keras.callbacks.Callback | None = None
) -> dict[str, list[float]]:
    model.compile(keras.optimizers.SGD(0.1), "mse")
    callback = callback or tfag.ApproximationCallback()
    history = model.fit(X, Y, 4, epochs=2, verbose=0, callbacks=[callback])
    return history.history


def of_seed(make: Any = planned_model) -> keras.Model:
    keras.utils.set_random_seed(1)
    return make()


def test_training_by_a_plan_is_that_by_its_methods() -> None:
    plan, histories = plan_by_hand(), []
    for schedule in (plan, plan.schedule):
        model = tfag.approximate_gradients(
            of_seed(), schedule, input_gradient=tfag.ExactGradient()
        )
        histories.append(fit(model))
    assert histories[0] == histories[1]


def test_callback_sets_a_plan() -> None:
    plan = plan_by_hand()
    expected = fit(tfag.approximate_gradients(of_seed(), plan))
    model = tfag.approximate_gradients(of_seed())
    assert fit(model, tfag.ApproximationCallback(plan)) == expected
    assert [layer.gradient_policy.schedule for layer in model.layers] == [plan] * 3


def test_callback_refuses_a_plan_of_another_model() -> None:
    model = tfag.approximate_gradients(planned_model(FILTERS[:2]))
    with pytest.raises(ValueError, match="plan of model 'small' has 3 layers"):
        fit_two_layers(model)


def fit_two_layers(model: keras.Model) -> None:
    model.compile("sgd", "mse")
    target = np.zeros((*X.shape[:3], FILTERS[1][3]))
    callback = tfag.ApproximationCallback(plan_by_hand())
    model.fit(X, target, 4, verbose=0, callbacks=[callback])


def test_saved_model_keeps_its_plan(tmp_path: Path) -> None:
    model = tfag.approximate_gradients(planned_model(), plan_by_hand())
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for layer, other in zip(model.layers, loaded.layers, strict=True):
        assert other.gradient_policy.schedule == plan_by_hand()
        method = layer.gradient_policy.method_at(0)
        assert other.gradient_policy.method_at(0) == method
        assert other.input_gradient == tfag.ExactGradient()
    np.testing.assert_array_equal(model(X), loaded(X))
    keras.utils.set_random_seed(3)
    history = fit(model)
    keras.utils.set_random_seed(3)
    again = fit(loaded)
    assert history == again


def test_clone_of_a_model_keeps_its_plan() -> None:
    model = tfag.approximate_gradients(planned_model(), plan_by_hand())
    clone = keras.models.clone_model(model)
    assert [x.gradient_policy.schedule for x in clone.layers] == [plan_by_hand()] * 3
