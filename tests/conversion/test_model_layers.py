"""Which layers of a model are convolutions that can be converted, in which order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import convertible_layers


class OwnConv2D(keras.layers.Conv2D):
    """A subclass, which may compute anything."""


def conv(name, **arguments):
    return keras.layers.Conv2D(4, 3, padding="same", name=name, **arguments)


def mixed_model():
    inner = keras.Sequential([keras.Input((8, 8, 4)), conv("third"), conv("fourth")])
    inputs = keras.Input((8, 8, 4))
    x = conv("first")(inputs)
    x = conv("grouped", groups=2)(x)
    shared = conv("second")
    x = shared(shared(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = keras.layers.Conv2DTranspose(4, 3, padding="same", name="transposed")(x)
    x = OwnConv2D(4, 3, padding="same", name="own")(x)
    x = inner(x)
    x = keras.layers.Reshape((64, 4), name="flat")(x)
    x = keras.layers.Conv1D(4, 3, name="one_axis")(x)
    return keras.Model(inputs, x)


CONVERTIBLE = [
    "first",
    "second",
    "separable",
    "transposed",
    "third",
    "fourth",
    "one_axis",
]


@pytest.fixture
def model():
    return mixed_model()


def test_layers_count_from_1_in_the_models_order_and_shared_ones_once(model):
    names = [layer.name for layer in convertible_layers(model)]
    assert names == CONVERTIBLE
    report = tfag.conversion_report(model)
    indices = {row.name: row.index for row in report.rows if row.index}
    assert indices == {name: i for i, name in enumerate(CONVERTIBLE, start=1)}


def test_schedule_follows_these_indices(model):
    converted = tfag.approximate_gradients(model, tfag.EveryNthLayer("max", n=2))
    rows = {row.name: row.note for row in tfag.conversion_report(converted).rows}
    methods = [rows[name] for name in CONVERTIBLE]
    assert methods == ["full", "max", "full", "max", "full", "max", "full"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("grouped", "groups=2 isn't supported"),
        ("depthwise", "DepthwiseConv2D isn't supported: its filters take one input"),
        ("own", "OwnConv2D isn't supported: a subclass may compute something else"),
    ],
)
def test_other_convolutions_stay_and_the_report_says_why(model, name, reason):
    kind = type(model.get_layer(name))
    converted = tfag.approximate_gradients(model, tfag.Constant("max"))
    assert type(converted.get_layer(name)) is kind
    report = tfag.conversion_report(converted)
    assert dict(report.skipped)[name].startswith(reason)


class Holder(keras.layers.Layer):
    """Holds its layers in a list, a tuple and a dict, and itself through a cycle."""

    def __init__(self):
        super().__init__()
        self.single = conv("single")
        self.listed = [conv("listed1"), (conv("listed2"), None)]
        self.named = {"x": conv("named")}
        self.again = [self.single, self]

    def call(self, x):
        x = self.listed[1][0](self.listed[0](self.single(x)))
        return self.named["x"](x)


def indices(model):
    return {row.name: row.index for row in tfag.conversion_report(model).rows}


def test_layers_held_in_containers_are_found_once_each():
    holder = Holder()
    expected = ["single", "listed1", "listed2", "named"]
    assert [layer.name for layer in convertible_layers(holder)] == expected


def test_layer_shared_by_two_nested_models_counts_once():
    shared = conv("shared")
    image = (8, 8, 4)
    first = keras.Sequential([keras.Input(image), conv("a"), shared])
    second = keras.Sequential([keras.Input(image), shared, conv("b")])
    inputs = keras.Input(image)
    model = keras.Model(inputs, second(first(inputs)))
    assert indices(model) == {"a": 1, "shared": 2, "b": 3}


def test_layer_inside_a_wrapper_of_keras_is_converted():
    inputs = keras.Input((2, 8, 8, 4))
    outputs = keras.layers.TimeDistributed(conv("wrapped"))(inputs)
    model = tfag.approximate_gradients(
        keras.Model(inputs, outputs), tfag.Constant("zero")
    )
    assert tfag.conversion_report(model).converted == ["wrapped"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.ones((1, 2, 8, 8, 4)), training=True) ** 2)
    kernel, bias = tape.gradient(loss, model.trainable_variables)
    assert not np.any(kernel)
    assert np.all(bias)
