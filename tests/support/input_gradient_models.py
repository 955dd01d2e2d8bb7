"""Models whose input gradients are approximated, and how they are trained."""

import keras
import numpy as np

import tf_approxgrad as tfag

X = np.random.default_rng(0).normal(size=(24, 8, 8, 2)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(24, 8, 8, 3)).astype(np.float32)
METHOD = tfag.SampledGradient(k=2, seed=5)


def make_model(schedule, input_gradient=METHOD, layers=3, **arguments):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input(X.shape[1:])]
        + [
            keras.layers.Conv2D(
                3, 3, padding="same", activation="relu", name=f"layer{i}", **arguments
            )
            for i in range(1, layers + 1)
        ]
    )
    return tfag.approximate_gradients(model, schedule, input_gradient=input_gradient)


def fit(model, **compiled):
    model.compile(keras.optimizers.SGD(0.1), "mse", **compiled)
    callbacks = [tfag.ApproximationCallback()]
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, "epochs": 2}
    model.fit(X, Y, callbacks=callbacks, **arguments)
    assert int(model.optimizer.iterations) == 12
    return model.get_weights()
