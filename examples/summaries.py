"""Shows in TensorBoard what approximation does, and ends it where progress stalls.

    python examples/summaries.py --epochs=8 --output=runs/tensorboard
    tensorboard --logdir=runs/tensorboard

Every second step is approximate at first, and none once the validation accuracy has
stopped improving.
"""

import argparse
from pathlib import Path

import fashion_mnist
import keras

import tf_approxgrad as tfag

FOLDER = "runs/tensorboard"


def main(epochs=8, images=10_000, batch=128, patience=2, update_freq=20, output=FOLDER):
    """Trains and writes TensorBoard's files; returns the plateau callback."""
    keras.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = fashion_mnist.load_data()
    x, y = x[:images, ..., None].astype("float32") / 255, y[:images]
    test = x_test[:images, ..., None].astype("float32") / 255, y_test[:images]
    measured = test[0][:batch], test[1][:batch]
    method = tfag.RowSampledGradient(
        share=0.5, probability="product", keep_largest=True
    )
    schedule = tfag.EveryNthStep(method, n=2)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    picture = schedule.plot(layers=2, steps=16).figure
    picture.savefig(folder / "schedule.png", dpi=150)
    model = tfag.approximate_gradients(tfag.models.cnn2((28, 28, 1)), schedule)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    plateau = tfag.SwitchToFullOnPlateau("val_accuracy", patience=patience, verbose=1)
    model.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        validation_data=test,
        verbose=2,
        callbacks=[
            tfag.ApproximationCallback(show_share=True),
            plateau,
            tfag.ApproximationSummaries(output, update_freq, data=measured),
            keras.callbacks.TensorBoard(output, update_freq=update_freq),
        ],
    )
    return plateau


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--output", default=FOLDER)
    main(**vars(parser.parse_args()))
