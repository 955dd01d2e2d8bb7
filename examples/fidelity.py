"""Compares methods on one batch, on a new network and again once it has trained.

    python examples/fidelity.py --epochs=2 --output=runs/fidelity

How close gradients are at the start says little about later: they grow more
concentrated as a network trains. Tables are printed, and written as CSV with a picture
of the cosine beside them.
"""

import argparse
from pathlib import Path

import fashion_mnist
import keras

import tf_approxgrad as tfag

METHODS = (
    tfag.ZeroGradient(),
    tfag.MaxGradient(k=1, scale=1.0),
    tfag.SampledGradient(k=4),
    tfag.RowSampledGradient(share=1 / 8),
    tfag.RowSampledGradient(share=0.5, probability="product", keep_largest=True),
)


def main(epochs=1, images=10_000, batch=128, repeats=10, output="runs/fidelity"):
    """Measures before and after training; returns both reports."""
    keras.utils.set_random_seed(0)
    (x, y), _ = fashion_mnist.load_data()
    x, y = x[:images, ..., None].astype("float32") / 255, y[:images]
    model = tfag.models.resnet(8, (28, 28, 1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    reports = []
    for name in ("before", "after"):
        if name == "after":
            model.fit(x, y, batch_size=batch, epochs=epochs, verbose=2)
        # gradient="input" measures input gradients instead of filter gradients.
        report = tfag.fidelity(
            model, x[:batch], y[:batch], METHODS, gradient="filter", repeats=repeats
        )
        print(report)
        report.to_csv(folder / f"{name}.csv")
        report.plot("cosine").figure.savefig(folder / f"{name}.png", dpi=150)
        reports.append(report)
    return reports


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--output", default="runs/fidelity")
    main(**vars(parser.parse_args()))
