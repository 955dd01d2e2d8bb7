r"""See in TensorBoard what approximation does, and end it where progress stalls.

    python examples/summaries.py --epochs=8 --output=runs/tensorboard
    tensorboard --logdir=runs/tensorboard

It trains the paper's 2-layer CNN on the images of Fashion-MNIST in this repository,
first with the max gradient at every second step, and in full once the validation
accuracy has stopped improving.
"""

from __future__ import annotations

from pathlib import Path

import keras
from absl import app, flags
from batches import BatchMaker
from datasets import load_dataset

import tf_approxgrad as tfag

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_integer("epochs", 8, "Epochs.", lower_bound=1)
    flags.DEFINE_integer("batch", 128, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("limit", None, "At most this many images.", lower_bound=10)
    flags.DEFINE_integer("patience", 2, "Epochs without an improvement.", lower_bound=1)
    flags.DEFINE_integer("update_freq", 20, "Steps between summaries.", lower_bound=1)
    flags.DEFINE_string("output", "runs/tensorboard", "Folder for TensorBoard.")


def draw_schedule(schedule: tfag.Schedule, path: Path) -> None:
    """Draws the schedule as the paper's Figure 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schedule.plot(layers=2, steps=16).figure.savefig(path, dpi=150)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    keras.utils.set_random_seed(0)
    dataset = load_dataset("embedded", limit=FLAGS.limit)
    batches = BatchMaker(dataset, FLAGS.batch, seed=0, augment=False)
    schedule = tfag.EveryNthStep("max", n=2)
    draw_schedule(schedule, Path(FLAGS.output) / "schedule.png")
    model = tfag.approximate_gradients(tfag.models.cnn2(dataset.image_shape), schedule)
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    plateau = tfag.SwitchToFullOnPlateau(
        "val_accuracy", patience=FLAGS.patience, verbose=1
    )
    model.fit(
        batches.training(0, ahead=True),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=FLAGS.epochs,
        validation_data=batches.validation(),
        verbose=2,
        callbacks=[
            tfag.ApproximationCallback(show_share=True),
            plateau,
            tfag.ApproximationSummaries(
                FLAGS.output, FLAGS.update_freq, data=batches.validation()
            ),
            keras.callbacks.TensorBoard(FLAGS.output, update_freq=FLAGS.update_freq),
        ],
    )
    print(f"tensorboard --logdir={FLAGS.output}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
