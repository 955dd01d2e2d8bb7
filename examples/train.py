"""Trains a network with approximate filter gradients: conversion, callback and `fit`.

    python examples/train.py --epochs=5

Half of the rows of each gradient are drawn by `RowSampledGradient`, without bias: the
rows that carry the most with certainty, the others by the size of their part. The first
convolution is cheap and stays exact. In the end the model is one of Keras' own layers.
"""

import argparse

import fashion_mnist
import keras

import tf_approxgrad as tfag


def make_model():
    """An ordinary compiled Keras model."""
    conv = keras.layers.Conv2D
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Reshape((28, 28, 1)),
            conv(32, 3, padding="same", activation="relu"),
            conv(64, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            conv(64, 3, padding="same", activation="relu"),
            conv(128, 3, padding="same", activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main(epochs=5, images=10_000):
    """Trains and returns the model, one of Keras' own layers again."""
    keras.utils.set_random_seed(0)
    (x_train, y_train), test = fashion_mnist.load_data()
    method = tfag.RowSampledGradient(
        share=0.5, probability="product", keep_largest=True
    )
    schedule = tfag.EveryNthLayer(method, n=1, start=2)
    model = tfag.approximate_gradients(make_model(), schedule)
    print(tfag.conversion_report(model))
    model.fit(
        x_train[:images],
        y_train[:images],
        batch_size=128,
        epochs=epochs,
        validation_data=test,
        callbacks=[tfag.ApproximationCallback()],
        verbose=2,
    )
    return tfag.strip_approximation(model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    main(**vars(parser.parse_args()))
