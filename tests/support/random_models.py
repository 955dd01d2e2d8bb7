"""Random models of Keras' layers, made again from their description."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

SIZE = (6, 6)
layers = keras.layers


def doubled(x):
    return 2 * x


class Cell(layers.Layer):
    """A recurrent cell with a convolution."""

    def __init__(self, channels, **arguments):
        super().__init__(**arguments)
        self.state_size = SIZE[0] * SIZE[1] * channels
        self.convolution = layers.Conv2D(channels, 3, padding="same")

    def build(self, shape):
        self.convolution.build(shape)
        self.built = True

    def call(self, inputs, states, training=None):
        output = self.convolution(inputs, training=training)
        output = tf.reshape(output, [-1, self.state_size]) + states[0]
        return output, [output]


class Own(layers.Layer):
    """A user's layer with a raw variable, and convolutions in containers."""

    def __init__(self, channels, **arguments):
        super().__init__(**arguments)
        self.scale = tf.Variable(1.5)
        self.held = {"first": [layers.Conv2D(channels, 1, activation=doubled)]}

    def build(self, shape):
        self.held["first"][0].build(shape)
        self.built = True

    def call(self, x, training=None):
        return self.scale * self.held["first"][0](x, training=training)


class OwnModel(keras.Model):
    """A user's model, with a training step and a head of its own."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.head = layers.Conv2D(2, 1)
        self.steps = 0

    def call(self, x, training=None):
        return self.head(self.body(x, training=training))

    def train_step(self, data):
        self.steps += 1
        return super().train_step(data)


def sequence(*parts):
    return keras.Sequential([*parts])


def adapted(x):
    layer = layers.Normalization(axis=-1)
    layer.adapt(np.random.default_rng(3).normal(2, 3, (8, *SIZE, x.shape[-1])))
    return layer(x)


def in_frames(layer, x):
    c = x.shape[-1]
    frames = layers.Reshape((2, 3, SIZE[1], c))(x)
    return layers.Reshape((*SIZE, c))(layers.TimeDistributed(layer)(frames))


def recurrent(layer, x):
    steps = layers.Lambda(lambda y: tf.stack([y, 2 * y], 1))(x)
    return layer(steps)


def rematerialised(x):
    with keras.RematScope(mode="full"):
        layer = layers.Conv2D(3, 3, padding="same")
    return layer(x)


def shared(x):
    layer = layers.Conv2D(x.shape[-1], 3, padding="same")
    return layer(layer(x))


def nested(x):
    inputs = keras.Input(x.shape[1:])
    y = layers.Conv2D(3, 3, padding="same")(inputs)
    y = layers.BatchNormalization()(y)
    return keras.Model(inputs, layers.Add()([y, layers.Conv2D(3, 1)(inputs)]))(x)


# What may come next: a function of a symbolic image and its number of channels.
BLOCKS: dict[str, Callable[[Any, int], Any]] = {
    "Conv2D": lambda x, c: layers.Conv2D(4, 3, padding="same")(x),
    "Conv2D lambda": lambda x, c: layers.Conv2D(
        3, 2, padding="same", activation=lambda y: 2 * y
    )(x),
    "Conv2D relu": lambda x, c: layers.Conv2D(
        3, 3, padding="same", activation="relu", bias_regularizer="l2"
    )(x),
    "Conv2D frozen": lambda x, c: layers.Conv2D(3, 3, padding="same", trainable=False)(
        x
    ),
    "Conv2D float64": lambda x, c: layers.Conv2D(3, 1, dtype="float64")(x),
    "Conv2D grouped": lambda x, c: layers.Conv2D(c, 3, padding="same", groups=c)(x),
    "Conv2D dilated": lambda x, c: layers.Conv2D(2, 2, padding="same", dilation_rate=2)(
        x
    ),
    "Conv1D": lambda x, c: layers.Reshape((*SIZE, 2))(
        layers.Conv1D(2, 3, padding="causal")(layers.Reshape((-1, c))(x))
    ),
    "SeparableConv2D": lambda x, c: layers.SeparableConv2D(3, 3, padding="same")(x),
    "Conv2DTranspose": lambda x, c: layers.Conv2DTranspose(3, 3, padding="same")(x),
    "DepthwiseConv2D": lambda x, c: layers.DepthwiseConv2D(3, padding="same")(x),
    "Dense": lambda x, c: layers.Dense(3)(x),
    "BatchNormalization": lambda x, c: layers.BatchNormalization()(x),
    "LayerNormalization": lambda x, c: layers.LayerNormalization()(x),
    "Dropout": lambda x, c: layers.Dropout(0.5, seed=1)(x),
    "ReLU": lambda x, c: layers.ReLU()(x),
    "Rescaling": lambda x, c: layers.Rescaling(0.5)(x),
    "RandomFlip": lambda x, c: layers.RandomFlip(seed=2)(x),
    "Normalization": lambda x, c: adapted(x),
    "Lambda": lambda x, c: layers.Lambda(lambda y: y + 1)(x),
    "operation": lambda x, c: keras.ops.tanh(x) * 2,
    "SpectralNormalization": lambda x, c: layers.SpectralNormalization(
        layers.Conv2D(3, 3, padding="same")
    )(x),
    "TimeDistributed": lambda x, c: in_frames(layers.Conv2D(c, 3, padding="same"), x),
    "TimeDistributed model": lambda x, c: in_frames(
        sequence(layers.Conv2D(c, 1), layers.ReLU()), x
    ),
    "ConvLSTM2D": lambda x, c: recurrent(layers.ConvLSTM2D(2, 3, padding="same"), x),
    "RNN": lambda x, c: layers.Reshape((*SIZE, c))(recurrent(layers.RNN(Cell(c)), x)),
    "Sequential": lambda x, c: sequence(
        layers.Conv2D(3, 3, padding="same"), layers.Dropout(0.2, seed=4)
    )(x),
    "Functional": lambda x, c: nested(x),
    "shared": lambda x, c: shared(x),
    "rematerialised": lambda x, c: rematerialised(x),
    "residual": lambda x, c: x + layers.Conv2D(c, 3, padding="same")(x),
    "own": lambda x, c: Own(3)(x),
}


@dataclasses.dataclass(frozen=True)
class Description:
    """What a model is made of.

    Attributes:
        blocks: Names of `BLOCKS`, in order.
        inputs: Number of inputs, of which all but the first are added.
        outputs: Number of outputs, each behind a convolution of its own.
        own: Whether the model is in one of a user's own class.
    """

    blocks: Sequence[str]
    inputs: int = 1
    outputs: int = 1
    own: bool = False

    def make(self) -> keras.Model:
        """The model; always of the same weights and random numbers."""
        keras.utils.set_random_seed(5)
        inputs = [keras.Input((*SIZE, 2), name=f"in{i}") for i in range(self.inputs)]
        x = layers.Add()(inputs) if self.inputs > 1 else inputs[0]
        for name in self.blocks:
            x = BLOCKS[name](x, x.shape[-1])
            x = layers.Activation("linear", dtype="float32")(x)
        heads = [layers.Conv2D(2, 1, name=f"out{i}")(x) for i in range(self.outputs)]
        model = keras.Model(inputs, heads if self.outputs > 1 else heads[0])
        if self.own:
            model = OwnModel(model)
        model(self.batch()[0])
        return model

    def batch(self) -> tuple[Any, Any]:
        random = np.random.default_rng(6)
        x = [tf.constant(random.normal(size=(4, *SIZE, 2)), "float32") for _ in "ab"]
        x, y = x[: self.inputs], [tf.ones((4, *SIZE, 2))] * self.outputs
        return (x if self.inputs > 1 else x[0]), (y if self.outputs > 1 else y[0])


def _describe(blocks, inputs, outputs, own):
    return Description(blocks, inputs, 1 if own else outputs, own)


descriptions = st.builds(
    _describe,
    blocks=st.lists(st.sampled_from(list(BLOCKS)), min_size=1, max_size=4).map(tuple),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    own=st.booleans(),
)
