"""fidelity: its numbers, what it measures, and that it leaves the model as it was."""

import dataclasses
import math
from typing import ClassVar

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf
from fidelity_checks import (
    expected_numbers,
    measure,
    numbers,
    report_numbers,
    state,
    zoo_batch,
    zoo_loss,
)
from marks import slowly
from reference import Problem

import tf_approxgrad as tfag
from tf_approxgrad import methods
from tf_approxgrad.gradients.filter_gradient import filter_gradient

PROBLEM = Problem()
EVERY_POSITION = tfag.MaxGradient(k=10**6, scale=1.0)


@dataclasses.dataclass(frozen=True)
class Swinging(tfag.GradientMethod):
    """A method of a user's own: twice the exact gradient, or none, in turns."""

    seed: int = 0

    name = "swinging"
    needs_step: ClassVar[bool] = True


@filter_gradient.register
def _swinging(method: Swinging, backprop):
    odd = (backprop.step + method.seed) % 2
    exact = filter_gradient(tfag.FullGradient(), backprop)
    return exact * tf.cast(2 * odd, exact.dtype)


def one_layer(problem=PROBLEM, **arguments):
    layer = keras.layers.Conv2D(
        problem.co,
        problem.kernel,
        problem.strides,
        problem.padding.lower(),
        use_bias=False,
        name="conv",
        **arguments,
    )
    return keras.Sequential([keras.Input((*problem.size, problem.ci)), layer])


def one_batch(problem=PROBLEM):
    """Inputs and targets of `one_layer`."""
    return problem.arrays(seed=1)


def output_gradient(model, x, y):
    outputs = model(x).numpy().astype(np.float64)
    return 2 * (outputs - y) / outputs.size


def only_row(model, x, y, method, **arguments):
    (row,) = measure(model, x, y, method, **arguments).rows
    return row


# --- Numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [PROBLEM, Problem(strides=(2, 3), padding="VALID", n=3)],
    ids=["same", "valid"],
)
@pytest.mark.parametrize(("k", "scale"), [(1, "batch"), (3, 1.0)])
def test_numbers_of_max_are_those_of_the_reference(problem, k, scale):
    model, (x, _) = one_layer(problem), one_batch(problem)
    y = np.random.default_rng(2).normal(size=model(x).shape)
    dy = output_gradient(model, x, y)
    factor = 1 / problem.n if scale == "batch" else scale
    expected = expected_numbers(
        [problem.max_gradient(x, dy, k, factor)], problem.dense_gradient(x, dy)
    )
    row = only_row(model, x, y, tfag.MaxGradient(k=k, scale=scale))
    assert numbers(row) == pytest.approx(expected, rel=1e-4)
    assert row.bias == pytest.approx(row.relative_error)
    assert row.variance == 0.0


def test_draws_are_those_of_training_at_the_steps():
    model, (x, y) = one_layer(), one_batch()
    method = tfag.RandomGradient(stddev=0.02, seed=7)
    row = only_row(model, x, y, method, step=5, draws=3)
    model = tfag.approximate_gradients(model, tfag.Constant(method))
    counter = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, counter)
    draws = []
    for step in (5, 6, 7):
        counter.assign(step)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        draws.append(tape.gradient(loss, model.layers[0].kernel.value).numpy())
    exact = PROBLEM.dense_gradient(x, output_gradient(model, x, y))
    assert numbers(row) == pytest.approx(expected_numbers(draws, exact), rel=1e-4)
    assert numbers(only_row(model, x, y, method, step=5, draws=3)) == numbers(row)
    assert numbers(only_row(model, x, y, method, step=6, draws=3)) != numbers(row)


def test_random_has_the_variance_of_its_numbers_and_the_bias_of_zero():
    model, (x, y) = one_layer(), one_batch()
    exact = PROBLEM.dense_gradient(x, output_gradient(model, x, y))
    stddev = np.linalg.norm(exact) / math.sqrt(exact.size)
    row = only_row(model, x, y, tfag.RandomGradient(stddev=stddev), draws=64)
    # 64 * 135 numbers: four deviations of their variance are 0.06.
    assert row.variance == pytest.approx(1.0, abs=0.07)
    # Its mean is zero; four deviations of mean.g / |g|^2 are 4 / sqrt(64 * 135).
    assert row.bias == pytest.approx(1.0, abs=0.05)
    assert row.relative_error**2 == pytest.approx(row.bias**2 + row.variance)


def test_method_whose_mean_is_exact_has_no_bias():
    model, (x, y) = one_layer(), one_batch()
    row = only_row(model, x, y, Swinging(), draws=4)
    assert numbers(row) == pytest.approx([0.5, 1.0, 1.0, 0.0, 4 / 3], abs=1e-6)
    # From an odd number of draws the mean is off, by no more than variance explains.
    assert only_row(model, x, y, Swinging(), draws=3).bias == 0.0


@model_zoo.each_model_slowly
def test_full_is_exact_zero_is_nothing_and_all_positions_are_exact(make):
    model = make()
    x, y = zoo_batch(model)
    report = measure(model, x, y, ["full", "zero", EVERY_POSITION], loss=zoo_loss(y))
    assert report.rows
    for full, zero, every in zip(*[iter(report.rows)] * 3, strict=True):
        assert full.layer == zero.layer == every.layer
        assert numbers(full) == pytest.approx([1, 0, 1, 0, 0], abs=1e-12)
        assert numbers(zero) == pytest.approx([0, 1, 0, 1, 0], abs=1e-12)
        # mixed_bfloat16's exact gradient has an error of its own, larger on older CPUs.
        assert numbers(every) == pytest.approx([1, 0, 1, 0, 0], abs=2e-2)


def test_gradient_that_is_zero_makes_ratios_zero():
    model, (x, _) = one_layer(), one_batch()
    report = measure(model, x, model(x), ["max", "random"])
    assert [numbers(row) for row in report.rows] == [[0.0] * 5] * 2


def test_nan_is_shown():
    model, (x, y) = one_layer(), one_batch()
    y = y.copy()
    y[0, 0, 0, 0] = np.nan
    row = only_row(model, x, y, "max")
    assert all(math.isnan(x) for x in numbers(row)[:4])


def test_only_what_draws_is_drawn_again():
    model, (x, y) = one_layer(), one_batch()
    report = measure(model, x, y, ["max", "random"])
    fewer = measure(model, x, y, ["max", "random"], draws=2)
    (largest, drawn), (same, other) = map(report_numbers, (report, fewer))
    assert largest == same
    assert drawn != other


# --- Models --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "is_converted", [*slowly(False), True], ids=["plain", "converted"]
)
@model_zoo.each_model_slowly
def test_model_stays_as_it_was(make, is_converted):
    model = make()
    if is_converted:
        model = tfag.approximate_gradients(model, model_zoo.SCHEDULE)
    x, y = zoo_batch(model)
    model.compile("adam", zoo_loss(y), metrics=None)
    before, outputs = state(model), model_zoo.call(model)
    assert measure(model, x, y, ["max", "random"], loss=None).rows
    tf.nest.map_structure(np.testing.assert_array_equal, before, state(model))
    model_zoo.assert_all_equal(outputs, model_zoo.call(model))


@pytest.mark.parametrize(
    "is_converted", [True, *slowly(False)], ids=["converted", "plain"]
)
def test_training_goes_on_as_without_it(is_converted):
    results = []
    for measured in (False, True):
        model = model_zoo.compiled(model_zoo.functional)
        callbacks = []
        if is_converted:
            schedule = tfag.EveryNthStep("random", n=2)
            model = tfag.approximate_gradients(model, schedule)
            callbacks = [tfag.ApproximationCallback()]
        x, y = zoo_batch(model)
        model.fit(x, y, batch_size=3, verbose=0, callbacks=callbacks)
        if measured:
            measure(model, x, y, ["max", "random"], loss=None)
        history = model.fit(x, y, batch_size=3, verbose=0, callbacks=callbacks)
        results.append((history.history, [v.numpy() for v in model.variables]))
    assert results[0][0] == results[1][0]
    model_zoo.assert_all_equal(results[0][1], results[1][1])


def test_statistics_and_seeds_that_training_changes_are_put_back():
    model = model_zoo.functional()
    x, y = zoo_batch(model)
    before = [variable.numpy() for variable in model.non_trainable_variables]
    measure(model, x, y, "max")
    after = [variable.numpy() for variable in model.non_trainable_variables]
    model_zoo.assert_all_equal(before, after)
    # So that the above says something:
    model(x, training=True)
    changed = [variable.numpy() for variable in model.non_trainable_variables]
    assert any(np.any(a != b) for a, b in zip(before, changed, strict=True))


def test_metrics_that_the_first_loss_makes_are_empty_afterwards():
    model = model_zoo.several_ends()
    x, y = zoo_batch(model)
    model.compile("sgd", {"sum": "mse", "a": "mae"})
    measure(model, x, y, "max", loss=None)
    fresh = model_zoo.several_ends()
    fresh.set_weights(model.get_weights())
    fresh.compile("sgd", {"sum": "mse", "a": "mae"})
    losses = [m.train_on_batch(x, y, return_dict=True) for m in (model, fresh)]
    assert losses[0] == pytest.approx(losses[1])


def test_layer_that_is_called_twice_has_the_sum_of_its_gradients():
    model = model_zoo.shared()
    x, y = zoo_batch(model)
    method = tfag.MaxGradient(k=2, scale=1.0)
    row = measure(model, x, y, method).rows[0]
    gradients = []
    for one in ("full", method):
        converted = tfag.approximate_gradients(model, tfag.Constant(one))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((converted(x, training=True) - y) ** 2)
        kernel = converted.get_layer("shared").kernel.value
        gradients.append(tape.gradient(loss, kernel).numpy().astype(np.float64))
    exact, found = gradients
    assert row.layer == "shared"
    assert numbers(row) == pytest.approx(expected_numbers([found], exact), rel=1e-3)


def test_converted_model_is_measured_where_it_is_converted():
    plain = model_zoo.sequential()
    x, y = zoo_batch(plain)
    rows = measure(plain, x, y, "zero").rows
    assert [(row.layer, row.index) for row in rows] == [("a", 1), ("b", 2)]
    model = tfag.approximate_gradients(plain, tfag.Alternate("max"), layers="b")
    rows = measure(model, x, y, "zero").rows
    assert [(row.layer, row.index) for row in rows] == [("b", 2)]
    # Named layers are measured whether they are converted or not.
    rows = measure(model, x, y, "zero", layers=[1, "b"]).rows
    assert [row.layer for row in rows] == ["a", "b"]
    rows = measure(model, x, y, "zero", layers=lambda layer: layer.name == "a").rows
    assert [row.layer for row in rows] == ["a"]


def test_conversion_changes_no_number():
    plain = model_zoo.other_kinds()
    x, y = zoo_batch(plain)
    expected = report_numbers(measure(plain, x, y))
    model = tfag.approximate_gradients(plain, tfag.Constant("full"))
    assert report_numbers(measure(model, x, y)) == expected
    assert len(expected) == 3 * len(methods.defaults())


def test_frozen_layers_are_named_and_have_no_row():
    model = model_zoo.functional()
    x, y = zoo_batch(model)
    report = measure(model, x, y, "max")
    assert [row.layer for row in report.rows] == ["a"]
    assert report.without_gradient == ("b",)
    assert str(report).splitlines()[-1] == " Without a filter gradient: b"
    message = (
        r"'functional' has no filter gradient to compare: the layers b are frozen, or"
    )
    with pytest.raises(ValueError, match=message):
        measure(model, x, y, "max", layers="b")


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError(), None])
def test_loss_is_that_of_compile(loss):
    model, (x, y) = one_layer(), one_batch()
    weights = np.random.default_rng(3).uniform(0.1, 3.0, size=(2, 9, 7))
    if loss is None:
        model.compile("sgd", "mse")
    row = only_row(model, x, y, "max", loss=loss, sample_weight=weights)
    unweighted = only_row(model, x, y, "max", loss=loss)
    dy = output_gradient(model, x, y) * weights[..., None]
    draws = [PROBLEM.max_gradient(x, dy, 1, 1 / PROBLEM.n)]
    expected = expected_numbers(draws, PROBLEM.dense_gradient(x, dy))
    assert numbers(row) == pytest.approx(expected, rel=1e-4)
    assert numbers(unweighted) != pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_losses_of_activities_count(dtype):
    rows = []
    for regularizer in (None, keras.regularizers.L2(10.0)):
        keras.utils.set_random_seed(1)
        model = one_layer(activity_regularizer=regularizer, dtype=dtype)
        rows.append(only_row(model, *one_batch(), "max"))
    assert numbers(rows[0]) != pytest.approx(numbers(rows[1]), rel=1e-2)


class InFunction(keras.layers.Layer):
    """Calls a convolution in a graph of its own."""

    def __init__(self, wrap):
        super().__init__()
        self.inner = keras.layers.Conv2D(3, 3, padding="same", name="inner")
        self.wrap = wrap

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.wrap(self.inner)(x)


def test_layer_in_a_function_of_the_models_own_is_measured():
    layers = [keras.Input((8, 8, 3)), InFunction(tf.function)]
    model = keras.Sequential(layers)
    x, y = zoo_batch(model)
    assert numbers(only_row(model, x, y, "full")) == pytest.approx([1, 0, 1, 0, 0])
    assert not tf.config.functions_run_eagerly()


def test_layer_that_cannot_be_measured_is_named_and_the_model_left_as_it_was():
    def wrap(layer):
        return lambda x: tf.function(layer).get_concrete_function(x)(x)

    model = keras.Sequential([keras.Input((8, 8, 3)), InFunction(wrap)])
    x, y = zoo_batch(model)
    before = state(model)
    with pytest.raises(RuntimeError, match="layer 'inner' is called in a graph inside"):
        measure(model, x, y, "max")
    tf.nest.map_structure(np.testing.assert_array_equal, before, state(model))
    assert not tf.config.functions_run_eagerly()


# --- Methods and times ---------------------------------------------------------------


def test_all_methods_of_the_package_are_measured_unless_some_are_named():
    model, (x, y) = one_layer(), one_batch()
    rows = measure(model, x, y).rows
    assert [row.method for row in rows] == list(methods.defaults())
    chosen = ["max", tfag.MaxGradient(), tfag.MaxGradient(k=2), {}]
    chosen[-1] = keras.saving.serialize_keras_object(tfag.ZeroGradient())
    labels = [row.method.label for row in measure(model, x, y, chosen).rows]
    assert labels == ["max", "max(k=2)", "zero"]


def test_times_are_there_if_they_were_measured():
    model, (x, y) = one_layer(), one_batch()
    rows = measure(model, x, y, repeats=2).rows
    assert len({row.dense_ms for row in rows}) == 1
    assert all(0 < row.method_ms < math.inf for row in rows)
    assert {row.method.label: row for row in rows}["full"].speed_up == 1.0
    assert all(math.isnan(row.speed_up) for row in measure(model, x, y).rows)


# --- Refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"methods": "most"}, ValueError, "method must be .*got 'most'"),
        ({"methods": []}, ValueError, "methods must be None, .*got \\[\\]"),
        ({"methods": 3}, TypeError, "methods must be a list .*got 3"),
        ({"draws": 1}, ValueError, "draws must be an integer >= 2, got 1"),
        ({"step": -1}, ValueError, "step must be an integer from 0 .*got -1"),
        ({"step": 0.5}, TypeError, "step must be an integer .*got 0.5"),
        ({"repeats": -1}, ValueError, "repeats must be an integer >= 0, got -1"),
        ({"layers": "con"}, ValueError, r"layers of fidelity must be .*'con' \(did"),
        ({"layers": 2}, ValueError, "layers of fidelity must be from 1 to 1"),
        ({"loss": None}, ValueError, "loss=None, but model 'net' isn't compiled: pass"),
        ({"loss": "msee"}, ValueError, "loss='msee' must be a loss as compile takes"),
        ({"loss": 3}, ValueError, "loss=3 must be a loss as compile takes it"),
        ({"x": tf.data.Dataset.range(3)}, TypeError, "x must be an array, .*one batch"),
        ({"y": object()}, TypeError, "y must be an array, .*got a object"),
        ({"model": "net"}, TypeError, "model='net' must be a keras.Model"),
        ({"model": keras.Sequential()}, ValueError, "isn't built"),
    ],
)
def test_wrong_argument_is_refused_before_any_work(
    arguments, error, message, monkeypatch
):
    model, (x, y) = one_layer(), one_batch()
    model.name = "net"

    def call(*_, **__):
        raise AssertionError("the model was called")

    monkeypatch.setattr(type(model), "call", call)
    defaults = {"model": model, "x": x, "y": y, "loss": "mse"}
    with pytest.raises(error, match=message):
        tfag.fidelity(**defaults | arguments)


def test_model_without_convolutions_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="has no convolution that can be approximated"):
        measure(model, np.ones((2, 3)), np.ones((2, 2)))


def test_layer_in_a_graph_keeps_its_own_gradient_when_others_are_measured():
    inner = tfag.ApproxConv2D(3, 3, padding="same", method="zero", name="inner")
    inner.build((None, 8, 8, 3))
    spec = tf.TensorSpec([None, 8, 8, 3])
    traced = tf.function(lambda x: inner(x, training=True)).get_concrete_function(spec)

    class Traced(keras.layers.Layer):
        def call(self, x):
            return traced(x)

    first = keras.layers.Conv2D(3, 3, padding="same", name="first")
    model = keras.Sequential([keras.Input((8, 8, 3)), first, Traced()])
    model.inner = inner
    x, y = zoo_batch(model)
    # Its backward pass is traced here for the first time, and kept.
    measure(model, x, y, "max", layers="first")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    assert not np.any(tape.gradient(loss, inner.kernel.value))
