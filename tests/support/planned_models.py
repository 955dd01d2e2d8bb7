"""Small models and data to plan for."""

from typing import Any

import keras
import numpy as np

import tf_approxgrad as tfag

SIZE, CLASSES = (8, 8, 2), 3
X = np.random.default_rng(3).normal(size=(24, *SIZE)).astype(np.float32)
Y = np.random.default_rng(4).integers(0, CLASSES, 24)
# Gives the same methods as the default, quicker.
FEW = (tfag.RowSampledGradient(0.5, probability="product", keep_largest=True),)
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def classifier(**arguments: Any) -> keras.Model:
    """Two convolutions, with all that a step changes besides weights."""
    return keras.Sequential(
        [
            keras.Input(SIZE),
            keras.layers.Conv2D(4, 3, padding="same", name="first", **arguments),
            keras.layers.BatchNormalization(**arguments),
            keras.layers.ReLU(**arguments),
            keras.layers.Conv2D(5, 3, 2, padding="same", name="second", **arguments),
            keras.layers.Dropout(0.3, **arguments),
            keras.layers.GlobalAveragePooling2D(**arguments),
            keras.layers.Dense(CLASSES, dtype="float32"),
        ],
        name="classifier",
    )


def compiled(optimizer: Any = "sgd", **arguments: Any) -> keras.Model:
    """A classifier that is compiled."""
    model = classifier(**arguments)
    model.compile(optimizer, CROSSENTROPY, metrics=["accuracy"])
    return model


def make_plan(model: keras.Model, x: Any = X, y: Any = Y, **arguments: Any) -> Any:
    """A plan from three minibatches of 8, among few methods."""
    defaults = {"batch_size": 8, "methods": FEW, "verbose": False}
    return tfag.plan(model, x, y, **defaults | arguments)
