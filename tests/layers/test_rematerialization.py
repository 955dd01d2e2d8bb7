"""Layers of `keras.RematScope` stay so in a converted model, and train by the schedule.

Their forward pass is done again in the backward pass, so that its results needn't be
kept.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from model_zoo import X, assert_all_equal
from recording import RAN, Recording

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import all_layers

KINDS = {
    "Conv2D": (keras.layers.Conv2D, (8, 8, 3)),
    "Conv1D": (keras.layers.Conv1D, (8, 3)),
    "SeparableConv2D": (keras.layers.SeparableConv2D, (8, 8, 3)),
    "Conv2DTranspose": (keras.layers.Conv2DTranspose, (8, 8, 3)),
}
# The arguments of a scope that takes in the layer "last".
SCOPES = {
    "full": {"mode": "full"},
    "larger_than": {"mode": "larger_than", "output_size_threshold": 10},
    "activations": {"mode": "activations"},
    "list_of_layers": {"mode": "list_of_layers", "layer_names": ["last"]},
}


def functional(scope="full", kind="Conv2D", remat=True):
    keras.utils.set_random_seed(0)
    cls, shape = KINDS[kind]
    inputs = keras.Input(shape)
    arguments = {"padding": "same", "activation": "tanh"}
    with keras.RematScope(**SCOPES[scope] if remat else {"mode": None}):
        last = cls(3, 3, name="last", **arguments)
        between = keras.layers.Activation("tanh")
    first = cls(3, 3, name="first", **arguments)
    return keras.Model(inputs, last(between(first(inputs))))


class Holder(keras.Model):
    """Is converted in place."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Conv2D(3, 3, padding="same")
        with keras.RematScope():
            self.last = keras.layers.Conv2D(3, 3, padding="same", name="last")

    def call(self, x, training=None):
        return self.last(self.first(x))


def holder():
    model = Holder()
    model(X)
    return model


class Pair(keras.layers.Layer):
    """Makes its own layers again when it is copied."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first = keras.layers.Conv2D(3, 3, padding="same", name="inner")
        self.last = keras.layers.Conv2D(3, 3, padding="same", name="last")

    def build(self, shape):
        self.first.build(shape)
        self.last.build(shape)
        self.built = True

    def call(self, x):
        return self.last(self.first(x))


class PlainInside(Pair):
    """Is computed again as a whole; the layers in it are not by themselves."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        with keras.RematScope(mode=None):
            self.first = keras.layers.Conv2D(3, 3, padding="same", name="inner")
            self.last = keras.layers.Conv2D(3, 3, padding="same", name="last")


class Twice(Pair):
    def call(self, x):
        return self.first(self.last(self.first(x)))


class OwnRemat(Pair):
    """Decides by itself what is computed again."""

    def call(self, x):
        return keras.remat(lambda x: self.last(self.first(x)))(x)


def with_pair():
    with keras.RematScope():
        pair = Pair()
    return keras.Sequential([keras.Input((8, 8, 3)), pair])


def modes(model):
    """Keras has no public name for how a layer is rematerialised."""
    return [x._remat_mode for x in [model, *all_layers(model)]]


@pytest.mark.parametrize(
    "make",
    [*(functools.partial(functional, scope) for scope in SCOPES), holder, with_pair],
    ids=[*SCOPES, "in place", "inside a layer"],
)
def test_conversion_and_strip_keep_what_is_rematerialised(make):
    model = make()
    expected = modes(model)
    assert any(expected)
    model = tfag.approximate_gradients(model, tfag.Constant("zero"))
    assert tfag.conversion_report(model).converted
    assert modes(model) == expected
    assert modes(tfag.strip_approximation(model)) == expected


def test_operations_between_layers_keep_it_too():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Conv2D(3, 3)(inputs)
    with keras.RematScope():
        outputs = outputs * 2.0
    model = tfag.approximate_gradients(
        keras.Model(inputs, outputs), tfag.Constant("max")
    )
    assert [x._remat_mode is not None for x in model.operations] == [False] * 2 + [True]


@pytest.mark.parametrize("remat", [False, True])
def test_rematerialised_layer_is_called_again_in_the_backward_pass(remat):
    calls = []

    def activation(x):
        calls.append("again" if calls else "once")
        return tf.tanh(x)

    with keras.RematScope(mode="full" if remat else None):
        layer = tfag.ApproxConv2D(2, 3, activation=activation, method="zero")
    layer.build(X.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(X), training=True))
    assert calls == ["once"]
    kernel, bias = tape.gradient(loss, [v.value for v in layer.trainable_weights])
    assert calls == (["once", "again"] if remat else ["once"])
    assert not np.any(kernel)
    assert np.all(bias)


def train(model, schedule, **compiled):
    model = tfag.approximate_gradients(model, schedule)
    model.compile(keras.optimizers.SGD(0.1), "mse", **compiled)
    x = np.random.default_rng(0).normal(size=(6, *model.input_shape[1:]))
    y = np.zeros((6, *model.output_shape[1:]))
    model.fit(
        x.astype(np.float32),
        y.astype(np.float32),
        batch_size=2,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[tfag.ApproximationCallback()],
    )
    return model


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        ("Conv2D", "full"),
        ("Conv2D", "list_of_layers"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *((kind, "full") for kind in KINDS if kind != "Conv2D"),
                *(("Conv2D", scope) for scope in ("larger_than", "activations")),
            )
        ),
    ],
)
@pytest.mark.parametrize(
    "compiled",
    [{}, *slowly({"run_eagerly": True}, {"jit_compile": True})],
    ids=["graph", "eager", "xla"],
)
def test_training_is_that_without_rematerialisation(kind, scope, compiled):
    schedule = tfag.TableSchedule(
        [["max", "full", "full"], ["full", tfag.RandomGradient(0.01), "max"]]
    )
    plain, remat = (
        train(functional(scope, kind, remat), schedule, **compiled).get_weights()
        for remat in (False, True)
    )
    for expected, found in zip(plain, remat, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [Pair, OwnRemat, *slowly(PlainInside, Twice)])
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
def test_layer_inside_what_is_rematerialised_is_approximated_in_training(cls, graph):
    with keras.RematScope(mode=None if cls is OwnRemat else "full"):
        layer = cls()
    model = keras.Sequential([keras.Input((8, 8, 3)), layer])
    model = tfag.approximate_gradients(model, tfag.Constant("zero"))

    def gradients(**arguments):
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_sum(model(tf.constant(X), **arguments) ** 2)
        kernels = [v.value for v in model.trainable_weights if v.name == "kernel"]
        return [tape.gradient(loss, kernels) for _ in range(2)]

    run = tf.function(gradients) if graph else gradients
    for _ in range(2):
        assert not np.any(tf.nest.flatten(run(training=True)))
        # Outside training it is exact, whatever came before.
        assert all(map(np.any, tf.nest.flatten(run())))
        assert all(map(np.any, tf.nest.flatten(run(training=False))))


def test_each_step_runs_the_schedules_method():
    RAN.clear()
    train(functional(), tfag.Alternate(Recording()))
    assert RAN == [("approximate", 2)] * 3  # Steps 1, 3 and 5 of 6.


def test_converted_model_predicts_and_is_stripped():
    model = train(functional(), tfag.Constant("max"))
    expected = model.predict(X, verbose=0)
    plain = tfag.strip_approximation(model)
    assert_all_equal(plain.predict(X, verbose=0), expected)
    plain.fit(X, X, verbose=0)


def test_gradient_outside_training_is_exact_after_training():
    model = train(functional(), tfag.Constant("zero"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(X) ** 2)
    kernels = [v.value for v in model.trainable_weights if v.name == "kernel"]
    assert all(map(np.any, tape.gradient(loss, kernels)))
