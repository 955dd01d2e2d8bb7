"""`register_filter_gradient`: methods of the user's own, wherever a method goes."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad import methods
from tf_approxgrad.methods import registry


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class Scaled(tfag.GradientMethod):
    """The exact gradient times a factor."""

    factor: float = 3.0

    name = "scaled"
    supports_jit = True


def filter_gradient(method, inputs):
    return method.factor * tf.raw_ops.Conv2DBackpropFilter(
        input=inputs.input,
        filter_sizes=inputs.filter_sizes,
        out_backprop=inputs.out_backprop,
        **inputs.arguments.for_op(),
    )


def input_gradient(method, inputs):
    return method.factor * tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(inputs.input),
        filter=inputs.filters,
        out_backprop=inputs.out_backprop,
        **inputs.arguments.for_op(),
    )


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_USERS", {})
    tfag.register_filter_gradient(
        Scaled, filter_gradient, input_gradient=input_gradient
    )


def gradients(**arguments):
    x = tf.random.stateless_normal([2, 6, 6, 3], [1, 2])
    filters = tf.Variable(tf.random.stateless_normal([3, 3, 3, 4], [3, 4]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tfag.conv2d(x, filters, 1, "SAME", **arguments)
        loss = tf.reduce_sum(y * y)
    return tape.gradient(loss, [x, filters])


def test_both_gradients_are_those_of_the_functions():
    exact_x, exact_filters = gradients(method="full")
    x, filters = gradients(method=Scaled(2.0), input_gradient=Scaled(5.0))
    np.testing.assert_allclose(filters, 2 * exact_filters, 1e-5)
    np.testing.assert_allclose(x, 5 * exact_x, 1e-5)


def test_method_is_known_by_its_name_with_its_default_settings():
    assert methods.get("scaled") == Scaled(3.0)
    _, exact = gradients(method="full")
    _, named = gradients(method="scaled")
    np.testing.assert_allclose(named, 3 * exact, 1e-5)
    # What fidelity compares by default are the package's own.
    assert Scaled() not in methods.defaults()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_model_trains_by_the_method_at_its_steps(jit_compile):
    def trained(schedule):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, use_bias=False)]
        )
        if schedule is not None:
            model = tfag.approximate_gradients(model, schedule)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        x = np.random.default_rng(0).normal(size=(4, 6, 6, 2))
        callbacks = [tfag.ApproximationCallback()] if schedule is not None else []
        before = model.get_weights()[0]
        model.fit(x, np.zeros((4, 4, 4, 3)), callbacks=callbacks, verbose=0)
        return model.get_weights()[0] - before

    exact = trained(None)
    np.testing.assert_allclose(trained(tfag.Constant("scaled")), 3 * exact, 1e-4, 1e-6)
    later = tfag.EveryNthStep("scaled", n=2, start=1)
    np.testing.assert_allclose(trained(later), exact, 1e-4, 1e-6)


def test_fidelity_and_files_take_the_method(tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3)])
    x, y = np.ones((4, 6, 6, 2)), np.zeros((4, 4, 4, 3))
    report = tfag.fidelity(model, x, y, Scaled(2.0), loss="mse", repeats=0)
    assert report.rows[0].norm_ratio == pytest.approx(2.0)
    model = tfag.approximate_gradients(model, tfag.Constant(Scaled(2.0)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].gradient_policy.method_at(0) == Scaled(2.0)


def test_registering_a_name_again_replaces_the_method():
    @dataclasses.dataclass(frozen=True)
    class Again(tfag.GradientMethod):
        name = "scaled"

    tfag.register_filter_gradient(Again, lambda _, inputs: inputs.input)
    assert methods.get("scaled") == Again()


def test_method_without_an_input_gradient_is_refused_as_one():
    @dataclasses.dataclass(frozen=True)
    class FilterAlone(tfag.GradientMethod):
        name = "filter-alone"

    tfag.register_filter_gradient(FilterAlone, filter_gradient)
    with pytest.raises(TypeError, match=r"no input gradient.*input_gradient=function"):
        gradients(method="full", input_gradient="filter-alone")


def test_registering_again_without_an_input_gradient_takes_it_away():
    tfag.register_filter_gradient(Scaled, filter_gradient)
    with pytest.raises(TypeError, match="no input gradient"):
        gradients(method="full", input_gradient=Scaled())


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda _, inputs: inputs.input, r"got \(2, 6, 6, 3\) and float32"),
        (lambda *_: tf.zeros([3, 3, 3, 4], tf.float64), r"\(3, 3, 3, 4\) and float64"),
    ],
    ids=["shape", "dtype"],
)
def test_result_of_another_shape_or_dtype_is_refused(function, got, in_graph):
    tfag.register_filter_gradient(Scaled, function, input_gradient=input_gradient)
    call = tf.function(gradients) if in_graph else gradients
    words = rf"the filter gradient of Scaled.* must have the shape .*{got}"
    with pytest.raises(ValueError, match=words):
        call(method=Scaled())


class NotADataclass(tfag.GradientMethod):
    name = "no-dataclass"


@dataclasses.dataclass
class NotFrozen(tfag.GradientMethod):
    name = "not-frozen"


class OfADataclass(Scaled):
    name = "of-a-dataclass"


@dataclasses.dataclass(frozen=True)
class NameIsANumber(tfag.GradientMethod):
    name: int = 3


@dataclasses.dataclass(frozen=True)
class NeedsAnArgument(tfag.GradientMethod):
    share: float
    name = "needs-an-argument"


@dataclasses.dataclass(frozen=True)
class NameIsTaken(tfag.GradientMethod):
    name = "max"


@dataclasses.dataclass(frozen=True)
class Nameless(tfag.GradientMethod):
    pass


@pytest.mark.parametrize(
    ("method_class", "error", "words"),
    [
        ("max", TypeError, "method_class='max' must be a subclass"),
        (Scaled(), TypeError, "must be a subclass"),
        (NotADataclass, TypeError, "must be a frozen dataclass"),
        (NotFrozen, TypeError, "must be a frozen dataclass"),
        (OfADataclass, TypeError, "must be a frozen dataclass"),
        (NameIsANumber, TypeError, "must be a string, got 3"),
        (NeedsAnArgument, TypeError, "default for each setting.*share"),
        (Nameless, TypeError, "name"),
        (NameIsTaken, ValueError, "got 'max'"),
        (tfag.MaxGradient, ValueError, "must be a class of your own"),
    ],
)
def test_classes_that_do_not_fit_are_refused(method_class, error, words):
    with pytest.raises(error, match=words):
        tfag.register_filter_gradient(method_class, filter_gradient)
    assert list(registry._USERS) == ["scaled"]


@pytest.mark.parametrize("name", ["function", "input_gradient"])
def test_functions_must_be_callable(name):
    arguments = {"function": filter_gradient, "input_gradient": input_gradient}
    with pytest.raises(TypeError, match=f"{name}='x' must be a function"):
        tfag.register_filter_gradient(Scaled, **arguments | {name: "x"})
