"""Fine-tunes a compiled, trained model with approximate filter gradients.

    python examples/fine_tune.py --epochs=2 --output=fine_tuned.keras

A small network learns five of Fashion-MNIST's classes and then, with its first
convolution frozen, the other five: the model that you have and the task that you want
it for. Conversion comes in the middle. It keeps the weights, what is frozen, and the
optimizer's state. In the end the model is one of Keras' own layers again.
"""

import argparse

import fashion_mnist
import keras

import tf_approxgrad as tfag

FIRST_CLASSES = 5


def make_model():
    """An ordinary Keras model."""
    conv = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Reshape((28, 28, 1)),
            conv(16, 3, padding="same", activation="relu", name="edges"),
            keras.layers.MaxPooling2D(),
            conv(32, 3, padding="same", activation="relu", name="parts"),
            keras.layers.MaxPooling2D(),
            keras.layers.SeparableConv2D(
                32, 3, padding="same", activation="relu", name="things"
            ),
            keras.layers.Flatten(),
            keras.layers.Dense(10, name="logits"),
        ]
    )


def compile_model(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])


def main(epochs=2, images=10_000, output=None):
    """Trains, converts, trains on; returns the model and its accuracy."""
    keras.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = fashion_mnist.load_data()
    x, y = x[:images], y[:images]
    first, others = y < FIRST_CLASSES, y >= FIRST_CLASSES
    model = make_model()
    compile_model(model)
    model.fit(x[first], y[first], batch_size=64, epochs=epochs, verbose=2)

    model.get_layer("edges").trainable = False
    compile_model(model)
    method = tfag.RowSampledGradient(
        share=0.5, probability="product", keep_largest=True
    )
    model = tfag.approximate_gradients(model, tfag.Constant(method))
    print(tfag.conversion_report(model))
    callback = tfag.ApproximationCallback()
    model.fit(
        x[others],
        y[others],
        batch_size=64,
        epochs=epochs,
        callbacks=[callback],
        verbose=2,
    )

    model = tfag.strip_approximation(model)
    tested = y_test >= FIRST_CLASSES
    _, accuracy = model.evaluate(x_test[tested], y_test[tested], verbose=0)
    print(f"Accuracy on the other classes: {accuracy:.1%}")
    if output:
        model.save(output)
    return model, accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--output", help="the .keras file to write")
    main(**vars(parser.parse_args()))
