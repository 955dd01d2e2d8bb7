"""One model of each kind that a user may have, small."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import all_layers
from tf_approxgrad.layers.base import ApproximateLayer

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)
SCHEDULE = tfag.Alternate("max")


def conv(filters=4, **arguments):
    return keras.layers.Conv2D(filters, 3, padding="same", **arguments)


@keras.saving.register_keras_serializable(package="tests")
class Block(keras.layers.Layer):
    """A layer of a user's own, with convolutions inside."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first = conv(3, name="inner1")
        self.others = [conv(3, name="inner2")]

    def build(self, shape):
        self.first.build(shape)
        self.others[0].build((*shape[:-1], 3))
        self.built = True

    def call(self, x):
        return self.others[0](self.first(x))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """Holds convolutions in attributes, lists, dicts and a layer of the user's own."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.convolution = conv(3, name="a")
        self.block = Block()
        self.listed = [conv(3, name="listed"), (keras.layers.ReLU(), conv(3, name="t"))]
        self.named = {"x": {"y": conv(3, name="named")}}

    def call(self, x, training=None):
        x = self.listed[1][1](self.listed[0](self.convolution(x)))
        return self.named["x"]["y"](self.block(x))


def sequential():
    return keras.Sequential([keras.Input((8, 8, 3)), conv(name="a"), conv(name="b")])


def sequential_built_by_data():
    model = keras.Sequential([conv(name="a"), conv(name="b")])
    model(X)
    return model


def functional():
    inputs = keras.Input((8, 8, 3), name="images")
    x = conv(
        name="a",
        kernel_regularizer=keras.regularizers.L2(0.1),
        bias_constraint=keras.constraints.NonNeg(),
    )(inputs)
    x = keras.layers.BatchNormalization()(x)
    frozen = conv(name="b", trainable=False)
    x = keras.layers.Dropout(0.5, seed=3)(frozen(x) + 1.0)
    return keras.Model(inputs, x, name="functional")


def sequential_of_three():
    return keras.Sequential(
        [keras.Input((8, 8, 3)), conv(3, name="inner")], name="part"
    )


def nested():
    inputs = keras.Input((8, 8, 3))
    x = conv(3, name="outer")(inputs)
    return keras.Model(inputs, functional()(sequential_of_three()(x)))


def shared():
    inputs = keras.Input((8, 8, 3))
    layer = conv(3, name="shared")
    return keras.Model(inputs, conv(name="last")(layer(layer(inputs))))


def shared_model():
    inputs = keras.Input((8, 8, 3))
    part = sequential_of_three()
    return keras.Model(inputs, conv(name="last")(part(part(inputs))))


def shared_input():
    inputs = keras.Input((8, 8, 3))
    part = keras.Model(inputs, conv(3, name="inner")(inputs), name="part")
    return keras.Model(inputs, conv(name="last")(part(inputs)))


def several_ends():
    inputs = {name: keras.Input((8, 8, 3), name=name) for name in ("one", "two")}
    a, b = conv(name="a")(inputs["one"]), conv(name="b")(inputs["two"])
    return keras.Model(inputs, {"sum": keras.layers.Add()([a, b]), "a": a})


def with_block():
    return keras.Sequential([keras.Input((8, 8, 3)), Block(), conv(name="last")])


def wrapped():
    steps = keras.layers.Reshape((2, 4, 8, 3))
    layers = [
        keras.layers.TimeDistributed(conv(3, name=name)) for name in ("first", "second")
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), steps, *layers])


def mixed():
    return keras.Sequential(
        [keras.Input((8, 8, 3)), conv(dtype="mixed_bfloat16"), conv(dtype="float64")]
    )


def with_lora():
    model = sequential()
    model.layers[0].enable_lora(2)
    for weight in model.layers[0].trainable_weights:
        weight.assign(weight + 0.1)
    return model


def other_kinds():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.SeparableConv2D(4, 3, padding="same", name="separable")(inputs)
    x = keras.layers.Conv2DTranspose(4, 3, strides=2, name="transposed")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.Reshape((-1, 4))(x)
    return keras.Model(inputs, keras.layers.Conv1D(2, 3, name="line")(x))


def network():
    return tfag.models.resnet(8, (8, 8, 3), width=0.2)


def subclassed():
    model = Subclassed()
    model(X)
    return model


class OwnStep:
    def train_step(self, data):
        return super().train_step(data) | {"own": tf.constant(1.0)}


class OwnSequential(OwnStep, keras.Sequential):
    """A Sequential with a training step of its own."""


class OwnFunctional(OwnStep, keras.Model):
    def __init__(self, filters=3):
        inputs = keras.Input((8, 8, 3))
        super().__init__(inputs, conv(filters)(conv(filters)(inputs)))


def own_sequential():
    return OwnSequential([keras.Input((8, 8, 3)), conv(3), conv(3)])


def own_functional():
    return OwnFunctional()


class OwnCall(keras.Sequential):
    """Calls a layer that isn't one of the Sequential's."""

    def __init__(self):
        super().__init__([keras.Input((8, 8, 3)), conv(3, name="listed")])
        self.extra = conv(3, name="extra")
        self.extra.build((None, 8, 8, 3))

    def call(self, x, training=None, mask=None):
        return self.extra(super().call(x, training=training))


def own_call():
    return OwnCall()


def nested_own():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, conv(3)(own_functional()(inputs)))


def _by_name(*makers):
    return {maker.__name__: maker for maker in makers}


MODELS = _by_name(
    sequential,
    sequential_built_by_data,
    functional,
    nested,
    shared,
    shared_model,
    shared_input,
    several_ends,
    with_block,
    wrapped,
    mixed,
    with_lora,
    other_kinds,
    network,
    subclassed,
    own_sequential,
    own_functional,
    own_call,
    nested_own,
)
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
# For tests that take long: one model of each kind is quick.
QUICK = (functional, shared_model, several_ends, other_kinds, subclassed)
each_model_slowly = pytest.mark.parametrize(
    "make",
    [
        x if x in QUICK else pytest.param(x, marks=pytest.mark.slow)
        for x in MODELS.values()
    ],
    ids=MODELS,
)


def call(model, **arguments):
    """The model's outputs for `X`, as a list of arrays."""
    names = [x.name for x in tf.nest.flatten(getattr(model, "inputs", None) or [])]
    inputs = {"one": X, "two": -X} if "one" in names else X
    outputs = tf.nest.flatten(model(inputs, **arguments))
    return [value.numpy() for value in outputs]


def assert_all_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def classes(model):
    return [type(layer) for layer in all_layers(model)]


def converted(model):
    return [isinstance(layer, ApproximateLayer) for layer in all_layers(model)]


def settings(model):
    """What conversion must keep of each layer besides its weights."""
    own = ApproximateLayer.OWN_ARGUMENTS
    return [
        (
            layer.name,
            layer.trainable,
            [variable.trainable for variable in layer.weights],
            layer.dtype_policy.name,
            {k: v for k, v in layer.get_config().items() if k not in own}
            if hasattr(layer, "kernel_size")
            else None,
        )
        for layer in all_layers(model)
    ]


def compiled(make):
    """A model that was trained for four steps."""
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(
        keras.optimizers.Adam(0.01), "mse", metrics=["mae"], weighted_metrics=["mse"]
    )
    model.fit(X, tf.zeros_like(model(X)), epochs=2, batch_size=3, verbose=0)
    return model
