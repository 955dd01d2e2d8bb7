"""Users' subclasses of ApproxConv2D and the others: converted, but never made plain."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_zoo import X, call, conv
from recording import RAN, Recording

import tf_approxgrad as tfag

IMAGE = (8, 8, 3)
REASON = "left exact: a subclass may compute something else than Conv2D"


@keras.saving.register_keras_serializable(package="tests")
class Doubled(tfag.ApproxConv2D):
    """Computes something else than a convolution."""

    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


class Holder(keras.Model):
    """Is converted in place."""

    def __init__(self):
        super().__init__()
        self.convolutions = [conv(3, name="plain"), doubled()]

    def call(self, x, training=None):
        for layer in self.convolutions:
            x = layer(x, training=training) if layer.name == "own" else layer(x)
        return x


def doubled(method="max", **arguments):
    return Doubled(3, 3, padding="same", name="own", method=method, **arguments)


def sequential():
    return keras.Sequential([keras.Input(IMAGE), conv(3, name="plain"), doubled()])


def holder():
    model = Holder()
    model(X)
    return model


def layer_of(model):
    (layer,) = (x for x in model.layers if x.name == "own")
    return layer


def has_gradient(model, name="own"):
    kernels = {x.name: x.kernel.value for x in model.layers}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(X, training=True) ** 2)
    return bool(np.any(tape.gradient(loss, kernels[name])))


each_model = pytest.mark.parametrize("make", [sequential, holder])


@each_model
def test_conversion_binds_a_users_subclass_to_the_schedule(make):
    model = make()
    expected = call(model)
    model = tfag.approximate_gradients(model, tfag.Alternate(Recording()))
    assert type(layer_of(model)) is Doubled
    np.testing.assert_array_equal(call(model)[0], expected[0])
    assert tfag.conversion_report(model).converted == ["plain", "own"]
    model.compile("sgd", "mse")
    RAN.clear()
    callbacks = [tfag.ApproximationCallback()]
    model.fit(X, X, batch_size=2, epochs=2, verbose=0, callbacks=callbacks)
    assert RAN == [("approximate", 2)] * 3  # Steps 1, 3 and 5 of 6.


def test_subclass_in_a_model_made_by_hand_is_told_the_step_and_its_index():
    model = keras.Sequential([keras.Input(IMAGE), conv(3), doubled(method="random")])
    tfag.bind_step(model, tf.Variable(0, dtype=tf.int64))
    assert layer_of(model).gradient_policy.index == 2
    assert has_gradient(model)


@each_model
def test_subclass_that_is_not_chosen_keeps_its_class_and_is_exact(make, tmp_path):
    model = make()
    expected = call(model)
    model = tfag.approximate_gradients(model, tfag.Constant("zero"), layers="plain")
    tfag.bind_step(model, tf.Variable(0))
    np.testing.assert_array_equal(call(model)[0], expected[0])
    assert type(layer_of(model)) is Doubled
    assert (has_gradient(model, "plain"), has_gradient(model)) == (False, True)
    report = tfag.conversion_report(model)
    assert report.converted == ["plain"]
    assert {row.name: (row.index, row.note) for row in report.rows} == {
        "plain": (1, "zero"),
        "own": (2, REASON),
    }
    # Another schedule is for the chosen layers, too.
    model.compile("sgd", "mse")
    again = tfag.ApproximationCallback(tfag.Constant("zero"))
    model.fit(X, X, verbose=0, callbacks=[again])
    assert has_gradient(model)
    if make is sequential:
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert has_gradient(loaded)
        assert tfag.conversion_report(loaded).converted == ["plain"]


@each_model
def test_stripped_model_keeps_a_subclass_and_trains_it_in_full(make):
    model = make()
    expected = call(model)
    model = tfag.approximate_gradients(model, tfag.Constant("zero"))
    assert not has_gradient(model)
    model = tfag.strip_approximation(model)
    np.testing.assert_array_equal(call(model)[0], expected[0])
    assert [type(x) for x in model.layers] == [keras.layers.Conv2D, Doubled]
    assert has_gradient(model)
    report = tfag.conversion_report(model)
    assert report.converted == []
    assert [row.note for row in report.rows] == ["not converted", REASON]
    # Nothing is left to strip, and a conversion takes it in again.
    assert tfag.strip_approximation(model) is model
    model = tfag.approximate_gradients(model, tfag.Constant("zero"))
    assert not has_gradient(model)
    assert tfag.conversion_report(model).converted == ["plain", "own"]


class NotTold(tfag.ApproxConv2D):
    """Keras can't tell it that it trains: its call has no argument for it."""

    def call(self, inputs):
        return super().call(inputs)


@pytest.mark.parametrize("remat", [False, True])
def test_subclass_that_is_not_told_that_it_trains_is_reported_as_skipped(remat):
    with keras.RematScope(mode="full" if remat else None):
        layer = NotTold(3, 3, padding="same", name="own", method="max")
    model = keras.Sequential([keras.Input(IMAGE), conv(3, name="plain"), layer])
    model = tfag.approximate_gradients(model, tfag.Constant("zero"))
    tfag.bind_step(model, tf.Variable(0))
    assert (has_gradient(model, "plain"), has_gradient(model)) == (False, True)
    report = tfag.conversion_report(model)
    assert report.converted == ["plain"]
    assert report.skipped == [
        ("own", "call of NotTold has no argument training, so that it stays exact")
    ]
    assert type(layer_of(tfag.strip_approximation(model))) is NotTold
