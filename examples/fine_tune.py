r"""Fine-tunes a compiled, trained model with approximate filter gradients.

    python examples/fine_tune.py --epochs=2 --output=fine_tuned.keras

A small network learns five of Fashion-MNIST's classes and then, with its first
convolution frozen, the other five: the model that you have and the task that you want
it for. Conversion comes in the middle. It keeps the weights, what is frozen, and the
optimizer's state. In the end the model is one of Keras' own layers again.
"""

from __future__ import annotations

import sys

import datasets
import keras
import numpy as np
from absl import app, flags

import tf_approxgrad as tfag

FLAGS = flags.FLAGS
flags.DEFINE_integer("base_epochs", 2, "Epochs on the first classes.", lower_bound=1)
flags.DEFINE_integer("epochs", 2, "Epochs on the other classes.", lower_bound=1)
flags.DEFINE_integer("batch", 64, "Images in a batch.", lower_bound=1)
flags.DEFINE_integer("limit", None, "At most so many images, of training and tests.")
flags.DEFINE_integer("k", 4, "Positions that max keeps of each channel.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Fixes the initial weights and the order.")
flags.DEFINE_string("output", None, "The .keras file to write the model to.")

_FIRST_CLASSES = 5


def make_model(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """An ordinary Keras model."""
    conv = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Rescaling(1 / 255),
            conv(16, 3, padding="same", activation="relu", name="edges"),
            keras.layers.MaxPooling2D(),
            conv(32, 3, padding="same", activation="relu", name="parts"),
            keras.layers.MaxPooling2D(),
            keras.layers.SeparableConv2D(
                32, 3, padding="same", activation="relu", name="things"
            ),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, name="logits"),
        ]
    )


def compile_model(model: keras.Model) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])


def fine_tune() -> tuple[keras.Model, float]:
    """Trains on the first classes, converts, trains on the others.

    Returns:
      The model, of Keras' own layers, and its accuracy on the other classes.

    Raises:
      OSError, ValueError: If a flag has a value that isn't allowed.
    """
    keras.utils.set_random_seed(FLAGS.seed)
    data = datasets.load_dataset("embedded", limit=FLAGS.limit)
    model = make_model(data.image_shape, data.classes)
    compile_model(model)
    print(data)
    first = data.train_labels < _FIRST_CLASSES
    train = data.train_images, data.train_labels
    test = data.validation_images, data.validation_labels
    model.fit(
        *(part[first] for part in train),
        batch_size=FLAGS.batch,
        epochs=FLAGS.base_epochs,
        verbose=2,
    )
    model.get_layer("edges").trainable = False
    compile_model(model)
    model = tfag.approximate_gradients(
        model, tfag.EveryNthStep(tfag.MaxGradient(k=FLAGS.k, scale=1.0), n=2)
    )
    print(tfag.conversion_report(model))
    others = data.validation_labels >= _FIRST_CLASSES
    model.fit(
        *(part[~first] for part in train),
        batch_size=FLAGS.batch,
        epochs=FLAGS.epochs,
        validation_data=tuple(part[others] for part in test),
        callbacks=[tfag.ApproximationCallback()],
        verbose=2,
    )
    model = tfag.strip_approximation(model)
    _, accuracy = model.evaluate(*(part[others] for part in test), verbose=0)
    return model, float(np.float32(accuracy))


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    try:
        model, accuracy = fine_tune()
    except (OSError, ValueError) as error:
        sys.exit(f"fine_tune.py: {error}")
    print(f"Accuracy on the other classes: {accuracy:.1%}")
    if FLAGS.output:
        model.save(FLAGS.output)
        print(f"Written: {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
