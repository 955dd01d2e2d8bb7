r"""Compare methods on one batch before choosing one, and again once the network trains.

    python examples/fidelity.py --epochs=2 --output=runs/fidelity

It measures the filter gradients of ResNet-8, or of a ResNet of another --depth or
another --model, on images of Fashion-MNIST in this repository, or other --data: those
of the new network, and those after some epochs of exact training, which may be other
than at the start.
--gradient=input measures input gradients, and --gradient=propagated what their errors
make of the filter gradients of earlier layers. Tables are printed, and written as CSV
with a picture of the cosine beside them.
"""

from __future__ import annotations

from pathlib import Path

import keras
from absl import app, flags
from batches import BatchMaker
from datasets import NAMES, load_dataset

import tf_approxgrad as tfag

FLAGS = flags.FLAGS
METHODS = (
    tfag.ZeroGradient(),
    tfag.RandomGradient(),
    *(tfag.MaxGradient(k=k, scale=1.0) for k in (1, 4)),
    *(tfag.SampledGradient(k=k) for k in (1, 4)),
    *(tfag.RowSampledGradient(share=share) for share in (1 / 16, 1 / 8, 1 / 4)),
)
GRADIENTS = ("filter", "input", "propagated")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_enum("model", "resnet", ("resnet", "cnn2", "vgg19"), "The network.")
    flags.DEFINE_integer("depth", 8, "Layers of the ResNet: 6 * n + 2.")
    flags.register_validator(
        "depth",
        lambda depth: depth >= 8 and depth % 6 == 2,
        "must be 8, 14, 20 or another 6 * n + 2.",
    )
    flags.DEFINE_enum("data", "embedded", NAMES, "The images.")
    flags.DEFINE_string("data_path", None, "Their folder or archive, as in train.py.")
    flags.DEFINE_integer("epochs", 1, "Epochs of training.", lower_bound=0)
    flags.DEFINE_integer("batch", 128, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("limit", None, "At most this many images.", lower_bound=10)
    flags.DEFINE_enum("gradient", "filter", GRADIENTS, "Which gradient is measured.")
    flags.DEFINE_integer("repeats", 10, "How often a time is measured.", lower_bound=0)
    flags.DEFINE_string("output", "runs/fidelity", "Folder for tables and pictures.")


def report(model: keras.Model, x: object, y: object, path: Path) -> None:
    """Measures, prints the table and writes it and its picture to `path`.*"""
    compared = tfag.fidelity(
        model, x, y, METHODS, gradient=FLAGS.gradient, repeats=FLAGS.repeats
    )
    print(compared)
    compared.to_csv(path.with_suffix(".csv"))
    compared.plot("cosine").figure.savefig(path.with_suffix(".png"), dpi=150)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    keras.utils.set_random_seed(0)
    dataset = load_dataset(FLAGS.data, FLAGS.data_path, limit=FLAGS.limit)
    batches = BatchMaker(dataset, FLAGS.batch, seed=0, augment=False)
    depth = [FLAGS.depth] if FLAGS.model == "resnet" else []
    make = getattr(tfag.models, FLAGS.model)
    model = make(*depth, input_shape=dataset.image_shape)
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    folder = Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    x, y = next(iter(batches.training(0, ahead=False)))
    report(model, x, y, folder / "before")
    if FLAGS.epochs:
        model.fit(
            batches.training(0, ahead=True),
            steps_per_epoch=batches.steps_per_epoch,
            epochs=FLAGS.epochs,
            validation_data=batches.validation(),
            shuffle=False,  # The batches come in an order of their own.
            verbose=2,
        )
        report(model, x, y, folder / "after")


if __name__ == "__main__":
    define_flags()
    app.run(main)
