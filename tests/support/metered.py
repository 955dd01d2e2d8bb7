"""Measured variances of small models, and the gradients that they are of."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from model_zoo import conv

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.measure.backward_pass import loss_function
from tf_approxgrad.planning.meter import VarianceMeter
from tf_approxgrad.planning.minibatches import Minibatch
from tf_approxgrad.planning.variances import Variances

ROWS = tfag.RowSampledGradient(0.5, probability="product", keep_largest=True)
LARGEST = tfag.MaxGradient(k=3, scale=1.0)


def minibatches(
    model: keras.Model, count: int = 4, size: int = 6, dtype: str = "float32"
) -> list[Minibatch]:
    """Minibatches of random images and targets for a model of one input."""
    rng = np.random.default_rng(2)

    def draw(shape: Any) -> tf.Tensor:
        return tf.constant(rng.normal(size=(size, *shape[1:])), dtype)

    return [
        Minibatch(draw(model.input_shape), draw(model.output_shape), None)
        for _ in range(count)
    ]


def measure(
    model: keras.Model,
    batches: list[Minibatch],
    methods: Any = (ROWS,),
    loss: Any = "mse",
) -> tuple[Variances, VarianceMeter]:
    layers = dict(enumerate(convertible_layers(model), start=1))
    meter = VarianceMeter(model, layers, loss_function(model, loss))
    found = meter.measure_minibatches(batches)
    candidates = {index: list(methods) for index in found.layers}
    return meter.measure_extra(found, batches, candidates), meter


def gradients_of(
    model: keras.Model, batches: list[Minibatch]
) -> list[list[np.ndarray | None]]:
    """The mean squared error's gradients of the trainable weights, by minibatch."""
    found = []
    for batch in batches:
        with tf.GradientTape() as tape:
            outputs = model(batch.x, training=True)
            loss = tf.reduce_mean(tf.square(outputs - batch.y))
        weights = [weight.value for weight in model.trainable_weights]
        found.append(
            [
                None if g is None else g.numpy().astype(np.float64)
                for g in tape.gradient(loss, weights)
            ]
        )
    return found


def variance(gradients: Any) -> float:
    """The sum of the elements' variances."""
    return float(np.var(gradients, axis=0, ddof=1).sum())


def network(dtype: str = "float64") -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((7, 6, 3), dtype=dtype),
            conv(4, dtype=dtype, activation="relu", name="first"),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.Conv2D(5, 3, 2, dtype=dtype, name="second"),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(2, dtype=dtype),
        ]
    )
