"""Small models that `AdaptivePlan` trains."""

import keras
import numpy as np

import tf_approxgrad as tfag

SIZE, BATCH = 8, 8


def data(count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, SIZE, SIZE, 2)).astype("float32")
    return x, np.arange(count) % 3


def make_model(optimizer: object = "adam", **options: object) -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 2)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    model = tfag.approximate_gradients(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, **options)
    return model


def labels(model: keras.Model) -> list[str]:
    return [
        layer.gradient_policy.method_at(0).label
        for layer in model.layers
        if hasattr(layer, "gradient_policy")
    ]


def model_of(*convolutions: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 2))
    x = inputs
    for layer in convolutions:
        x = layer(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    tfag.approximate_gradients(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def conv(**options: object) -> keras.layers.Layer:
    return keras.layers.Conv2D(2, 3, padding="same", **options)
