"""Under XLA the methods give the same numbers, and Keras trains compiled."""

import dataclasses
import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import METHODS, filter_gradient
from marks import slowly, slowly_but
from recording import Recording, operations
from reference import (
    GEOMETRIES,
    QUICK_GEOMETRIES,
    SOME_GEOMETRIES,
    Problem,
    assert_gradient,
    to_nhwc,
)

import tf_approxgrad as tfag
from tf_approxgrad.gradients.xla import context as xla

KERNEL_OPS = {
    "ApproxConv2DBackpropFilter",
    "ApproxSampledConv2DBackpropFilter",
    "ApproxRandomFilterGradient",
    "ApproxRowSampledConv2DBackpropFilter",
    "ApproxAwaitBackprop",
}
X = np.random.default_rng(0).normal(size=(24, 8, 8, 2)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(24, 8, 8, 3)).astype(np.float32)


def compiled_gradient(problem, x, dy, method, step=None):
    """The filter gradient from one function that XLA compiles, without our ops."""

    @tf.function(jit_compile=True)
    def compute(x, dy):
        return tfag.conv2d_backprop_filter(
            x,
            problem.filter_sizes,
            dy,
            method=method,
            step=step,
            **problem.function_arguments(),
        )

    graph = compute.get_concrete_function(x, dy).graph
    assert operations(graph).isdisjoint(KERNEL_OPS)
    return compute(x, dy).numpy()


some_geometries = pytest.mark.parametrize(
    "geometry", slowly_but(QUICK_GEOMETRIES, SOME_GEOMETRIES)
)


@pytest.mark.parametrize("k", [3, *slowly(1, 1000)])
@some_geometries
def test_max_is_the_reference_under_xla(geometry, k):
    problem = GEOMETRIES[geometry]
    x, dy = problem.arrays()
    actual = compiled_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    expected = problem.max_gradient(x, dy, k)
    assert_gradient(actual, expected, problem.max_error(x, dy, k))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["half", *slowly("float32", "float64", "bfloat16")])
@pytest.mark.parametrize("k", [4, *slowly(1)])
def test_ties_go_to_the_lowest_position_under_xla(dtype, data_format, k):
    problem = Problem((2, 3), n=2, size=(7, 9), ci=3, co=17, values="ties", dtype=dtype)
    problem = dataclasses.replace(problem, data_format=data_format)
    x, dy = problem.arrays()
    actual = compiled_gradient(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    np.testing.assert_array_equal(actual, problem.max_gradient(x, dy, k))


@pytest.mark.parametrize("k", [3, *slowly(1, 0.2, 1000)])
@some_geometries
def test_sampled_is_that_of_the_kernel_under_xla(geometry, k):
    problem = GEOMETRIES[geometry]
    x, dy = problem.arrays()
    method, step = tfag.SampledGradient(k, seed=8), tf.constant(2**40 + 3, tf.int64)
    actual = compiled_gradient(problem, x, dy, method, step)
    expected = filter_gradient(problem, x, dy, method, step)
    tolerance = 2e-6 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=tolerance)


@pytest.mark.parametrize("data_format", ["NCHW", *slowly("NHWC")])
@pytest.mark.parametrize("dtype", ["float32", *slowly("half", "float64", "bfloat16")])
@pytest.mark.parametrize("seed", [2**62 + 12345, *slowly(0, -1)])
def test_sampled_is_the_reference_under_xla(seed, dtype, data_format):
    problem = Problem((2, 3), n=2, size=(7, 9), ci=3, co=17, dtype=dtype)
    problem = dataclasses.replace(problem, data_format=data_format)
    x, dy = problem.arrays()
    dy = dy.copy()
    to_nhwc(dy, data_format)[0, :, :, 4] = 0
    draw = {"k": 5, "seed": seed, "step": 2**32 - 1}
    method = tfag.SampledGradient(5, seed=seed)
    step = tf.constant(2**32 - 1, tf.int64)
    actual = compiled_gradient(problem, x, dy, method, step)
    expected = problem.sampled_gradient(x, dy, **draw)
    assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


QUICK = ("random", "row-sampled product")


@pytest.mark.parametrize("name", slowly_but(QUICK, METHODS))
@pytest.mark.parametrize("dtype", ["float32", *slowly("float64", "bfloat16")])
def test_compiled_gradient_is_that_of_the_kernels(name, dtype):
    method, step = METHODS[name]
    problem = Problem((3, 3), n=3, size=(9, 8), ci=4, co=5, dtype=dtype)
    x, dy = problem.arrays()
    step = None if step is None else tf.constant(step, tf.int64)
    plain = tfag.conv2d_backprop_filter(
        x,
        problem.filter_sizes,
        dy,
        method=method,
        step=step,
        **problem.function_arguments(),
    )
    actual = compiled_gradient(problem, x, dy, method, step)
    assert actual.dtype == plain.numpy().dtype
    # TensorFlow's own gradient, and XLA's, round where others don't.
    tolerance = {"bfloat16": 4e-2 if name == "full" else 1e-2}.get(dtype, 2e-6)
    np.testing.assert_allclose(
        actual.astype(np.float64),
        plain.numpy().astype(np.float64),
        rtol=tolerance,
        atol=tolerance * np.abs(plain.numpy().astype(np.float64)).max(),
    )


@pytest.mark.parametrize("k", [3, *slowly(1)])
@pytest.mark.parametrize("kind", [tfag.MaxGradient, tfag.SampledGradient])
@pytest.mark.parametrize("bad", [np.nan, *slowly(np.inf, -np.inf)])
def test_nan_and_infinity_stay_visible_under_xla(bad, kind, k):
    problem = Problem((3, 3), n=2, size=(5, 5), ci=2, co=3)
    x, dy = problem.arrays()
    dy[1, 2, 3, 1] = bad
    actual = compiled_gradient(problem, x, dy, kind(k), 3)
    assert not np.isfinite(actual[..., 1]).all(axis=(0, 1)).any()
    assert np.isfinite(actual[..., [0, 2]]).all()


@pytest.mark.parametrize("seed", [-1, *slowly(0, 2**62 + 12345)])
@pytest.mark.parametrize("step", [0, 2**40 + 7, *slowly(2**32 - 1)])
def test_random_numbers_are_those_of_the_op_under_xla(seed, step):
    method = tfag.RandomGradient(stddev=0.5, seed=seed)
    problem = Problem((3, 3), n=1, size=(4, 4), ci=13, co=31)
    x, dy = problem.arrays()
    step = tf.constant(step, tf.int64)
    actual = compiled_gradient(problem, x, dy, method, step)
    expected = tfag.conv2d_backprop_filter(
        x, problem.filter_sizes, dy, 1, "SAME", method=method, step=step
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_only_what_is_compiled_is_lowered():
    found = []

    def inner(x):
        found.append(xla.is_compiling())
        return x

    one = tf.constant(1.0)
    tf.function(inner)(one)
    tf.function(inner, jit_compile=True)(one)
    tf.function(lambda x: tf.function(inner)(x), jit_compile=True)(one)
    tf.function(lambda x: tf.cond(x > 0, lambda: inner(x), lambda: x))(one)
    assert found == [False, True, True, False]
    assert not xla.is_compiling()


KINDS = {
    cls.__name__: cls
    for cls in (
        keras.layers.Conv2D,
        keras.layers.Conv1D,
        keras.layers.SeparableConv2D,
        keras.layers.Conv2DTranspose,
    )
}
OTHER_KINDS = [kind for kind in KINDS if kind != "Conv2D"]


def data(kind):
    """Inputs and targets: for Conv1D the images' first lines."""
    return (X[:, 0], Y[:, 0]) if kind == "Conv1D" else (X, Y)


def make_model(schedule, kind="Conv2D", **compiled):
    keras.utils.set_random_seed(1)
    layers = [
        KINDS[kind](3, 3, padding="same", activation="relu", name=f"layer{index}")
        for index in range(3)
    ]
    model = keras.Sequential([keras.Input(data(kind)[0].shape[1:]), *layers])
    model = tfag.approximate_gradients(model, schedule)
    assert len(tfag.conversion_report(model).converted) == 3
    model.compile(keras.optimizers.SGD(0.1), "mse", **compiled)
    return model


def fit(model, kind="Conv2D"):
    callbacks = [tfag.ApproximationCallback()]
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, "epochs": 2}
    model.fit(*data(kind), callbacks=callbacks, **arguments)


@pytest.mark.parametrize("kind", ["Conv2D", *slowly(*OTHER_KINDS)])
@pytest.mark.parametrize(
    "schedule",
    [
        tfag.Alternate("max"),
        *slowly(
            tfag.EveryNthStep("random", n=2),
            tfag.Constant(tfag.MaxGradient(k=3, scale=1.0)),
            tfag.EveryNthStep(tfag.SampledGradient(k=0.1), n=2),
            tfag.Piecewise([3, 8], ["zero", tfag.Alternate("max"), "full"]),
        ),
    ],
    ids=["alternate", "random", "constant", "sampled", "piecewise"],
)
@pytest.mark.parametrize("steps_per_execution", [1, *slowly(4)])
def test_fit_trains_compiled_as_it_does_without(schedule, kind, steps_per_execution):
    weights = []
    for jit_compile in (False, True):
        model = make_model(
            schedule,
            kind,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )
        fit(model, kind)
        assert model.jit_compile is jit_compile
        assert int(model.optimizer.iterations) == 12
        weights.append(model.get_weights())
    for plain, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Conv2D", *slowly(*OTHER_KINDS)])
def test_compiled_model_evaluates_and_predicts(kind):
    model = make_model(tfag.Alternate("max"), kind, jit_compile=True)
    fit(model, kind)
    x, y = data(kind)
    assert np.isfinite(model.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), model(x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["Conv2D", *slowly(*OTHER_KINDS)])
def test_own_compiled_loop_follows_the_schedule(kind):
    model = make_model(tfag.EveryNthStep("zero", n=3, start=2), kind)
    step = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, step)
    name = "pointwise_kernel" if kind == "SeparableConv2D" else "kernel"
    kernels = [getattr(layer, name).value for layer in model.layers]
    x, y = data(kind)

    @tf.function(jit_compile=True)
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        return tape.gradient(loss, kernels)

    for number in range(7):
        step.assign(number)
        zero = [not np.any(gradient) for gradient in gradients()]
        assert zero == [number % 3 == 2] * 3


@pytest.fixture
def with_a_gpu(monkeypatch):
    """What Keras asks before it turns XLA on by itself says that there is a GPU."""
    listed = tf.config.list_physical_devices

    def with_another(kind=None):
        gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
        return [*listed(kind), gpu]

    monkeypatch.setattr(tf.config, "list_physical_devices", with_another)
    return monkeypatch


def test_auto_compiles_where_keras_sees_a_gpu(with_a_gpu):
    model = make_model(tfag.Alternate("max"))
    with_a_gpu.undo()
    assert model.jit_compile is True
    fit(model)


GIVEN_UP = r"XLA can't compile Recording\(tag='approximate'\) of layer 'layer1'.*speed"


def test_auto_says_which_layer_it_is_that_keeps_xla_away(with_a_gpu):
    with pytest.warns(UserWarning, match=GIVEN_UP) as caught:
        model = make_model(tfag.Alternate(Recording()))
    with_a_gpu.undo()
    assert len(caught) == 1
    assert model.jit_compile is False
    fit(model)


@pytest.mark.parametrize(
    "compiled", [{}, *slowly({"jit_compile": False}, {"run_eagerly": True})]
)
def test_nothing_is_said_of_xla_where_it_was_not_asked_for(compiled):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(make_model(tfag.Alternate(Recording()), **compiled))


def test_conversion_of_a_model_that_xla_compiles_says_that_it_will_not(with_a_gpu):
    model = make_model(tfag.Alternate("max"))
    with_a_gpu.undo()
    assert model.jit_compile is True
    model = tfag.approximate_gradients(model, tfag.Alternate(Recording()))
    with pytest.warns(UserWarning, match=GIVEN_UP):
        fit(model)


def test_model_that_was_compiled_before_its_conversion_in_place_trains_compiled():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolution = keras.layers.Conv2D(3, 3, padding="same")

        def call(self, x, training=None):
            return self.convolution(x)

    model = Model()
    model(X[:1])
    model.compile(keras.optimizers.SGD(), "mse", jit_compile=True)
    model = tfag.approximate_gradients(model, tfag.EveryNthStep("max"))
    fit(model)
    assert model.jit_compile is True


def test_method_that_xla_cannot_compile_makes_keras_train_without():
    schedule = tfag.Alternate(Recording())
    with pytest.warns(UserWarning) as caught:
        model = make_model(schedule, jit_compile=True)
    ours, keras_own = (str(warning.message) for warning in caught)
    assert re.match(GIVEN_UP, ours)
    assert "Proceeding with `jit_compile=False`" in keras_own
    assert model.jit_compile is False
    fit(model)


def test_schedule_that_xla_cannot_compile_turns_it_off_with_one_warning():
    model = make_model(tfag.Alternate("max"), jit_compile=True)
    fit(model)
    later = tfag.ApproximationCallback(tfag.Alternate(Recording()))
    with pytest.warns(UserWarning) as caught:
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[later])
    (warning,) = caught
    assert "Recording(tag='approximate')" in str(warning.message)
    assert "without XLA" in str(warning.message)
    assert model.jit_compile is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model)


def test_own_compiled_loop_with_such_a_method_is_refused_in_words():
    model = make_model(tfag.Constant(Recording()))

    @tf.function(jit_compile=True)
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(X, training=True) ** 2)
        return tape.gradient(loss, [model.layers[0].kernel.value])

    with pytest.raises(RuntimeError, match=r"Recording.*XLA can't compile.*jit_comp"):
        gradients()
