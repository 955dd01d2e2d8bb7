r"""Trains a network with approximate filter gradients.

One method, with fit:

    python examples/train.py --model=resnet20 --method=max --epochs=10

Several side by side on the same batches, their steps interleaved:

    python examples/train.py --model=resnet20 --compare=full,zero,max --epochs=10

CIFAR-10, from the archive or the folder that it was extracted to:

    python examples/train.py --data=cifar10 --data_path=cifar-10-python.tar.gz

A method is full, zero, random, max or row-sampled; its parameters follow after colons,
as in max:k=4 or random:stddev=0.01. With --checkpoint a run that was interrupted goes
on after its last whole epoch when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import datasets
import figures
import results
import settings
import training
from absl import app, flags
from batches import BatchMaker
from checkpoint import Checkpoint

FLAGS = flags.FLAGS
flags.DEFINE_enum("model", "cnn2", settings.MODELS, "The network.")
flags.DEFINE_float(
    "width", 1.0, "Factor on the network's channels and units.", lower_bound=0.0
)
flags.DEFINE_float(
    "batch_norm_momentum",
    0.9,
    "Momentum of batch normalisation's averages, from 0 to less than 1.",
)
flags.DEFINE_enum("data", "embedded", datasets.NAMES, "The images.")
flags.DEFINE_string(
    "data_path",
    None,
    "For cifar10 the archive or the folder that it was extracted to; for fashion_mnist "
    "its folder, if it isn't where Debian or Keras put it.",
)
flags.DEFINE_enum(
    "validation",
    "test",
    datasets.VALIDATIONS,
    "What to validate on: the test images, to report a result, or images held out of "
    "training, to choose settings.",
)
flags.DEFINE_integer("limit", None, "At most so many images, of training and tests.")
flags.DEFINE_bool(
    "augment", False, "Crop and flip the training images at random, in the pipeline."
)
flags.DEFINE_string(
    "method", None, "The method that the schedule applies. By default max."
)
flags.DEFINE_list(
    "compare", None, "Methods to train side by side; full must be one of them."
)
flags.DEFINE_integer("k", None, "Positions that max keeps of each channel.")
flags.DEFINE_string("scale", None, "Factor of max: a number, or batch for 1/batch.")
flags.DEFINE_float("stddev", None, "Deviation of random. By default 1/batch.")
flags.DEFINE_enum(
    "schedule",
    None,
    settings.SCHEDULES,
    "Which layers to approximate at which steps. By default the paper's: alternate for "
    "cnn2, every_nth_layer for the others. none approximates nothing.",
)
flags.DEFINE_integer(
    "schedule_n", None, "n of every_nth_layer and every_nth_step. By default 4."
)
flags.DEFINE_integer(
    "schedule_start",
    None,
    "start of every_nth_layer (by default 2) and every_nth_step (by default 1).",
)
flags.DEFINE_string(
    "schedule_layers",
    None,
    "For constant the layers' indices from 1, ranges such as 2-8, or names, separated "
    "by commas, by default all; for alternate the number layers, by default 2.",
)
flags.DEFINE_integer("schedule_steps", None, "steps of alternate. By default 2.")
flags.DEFINE_string(
    "input_gradient",
    None,
    "A method, with parameters as in row-sampled:share=0.25, that makes the input "
    "gradients where the schedule approximates the filters'. By default none: exact.",
)
flags.DEFINE_integer("epochs", 5, "Epochs in all.", lower_bound=1)
flags.DEFINE_integer("batch", 128, "Images in a batch.", lower_bound=1)
flags.DEFINE_integer(
    "seed",
    0,
    "Fixes the initial weights, the order, the augmentation and random's numbers.",
    lower_bound=0,
)
flags.DEFINE_float(
    "learning_rate", 1e-3, "Adam's learning rate at the start.", lower_bound=0.0
)
flags.DEFINE_float(
    "decay_rate",
    0.9,
    "What the learning rate is multiplied by, gradually, over every decay_epochs.",
    lower_bound=0.0,
)
flags.DEFINE_float("decay_epochs", 1.0, "See decay_rate.", lower_bound=0.0)
flags.DEFINE_string(
    "output",
    None,
    "Folder for history.csv, summary.csv, curves.png and schedule.png, which replace "
    "those of an earlier run.",
)
flags.DEFINE_string("tensorboard", None, "Folder for TensorBoard's logs.")
flags.DEFINE_string("checkpoint", None, "Folder to save to, and to continue from.")


def read_flags() -> settings.Settings:
    """The flags as settings."""
    values = {
        field.name: FLAGS[field.name].value
        for field in dataclasses.fields(settings.Settings)
    }
    return settings.Settings(**values | {"compare": tuple(FLAGS.compare or ())})


class Job:
    """One run of the program. Whatever is wrong shows here, before any training.

    Args:
      chosen: The flags' values.

    Raises:
      FileNotFoundError: If data files are missing.
      TypeError, ValueError: If a flag has a value that isn't allowed.
    """

    def __init__(self, chosen: settings.Settings) -> None:
        self._chosen = chosen
        methods = settings.make_methods(chosen)
        schedules = [settings.make_schedule(chosen, x) for x in methods.values()]
        settings.make_input_method(chosen)
        # They differ in the method alone, so that any of them gives the picture.
        self._schedule = next((x for x in schedules[::-1] if x is not None), None)
        self._dataset = datasets.load_dataset(
            chosen.data, chosen.data_path, chosen.validation, chosen.limit
        )
        self._batches = BatchMaker(
            self._dataset, chosen.batch, chosen.seed, chosen.augment
        )
        self._runs = [
            training.Run(
                name,
                settings.make_model(
                    chosen,
                    schedule,
                    self._dataset.image_shape,
                    self._dataset.classes,
                    self._batches.steps_per_epoch,
                ),
            )
            for name, schedule in zip(methods, schedules, strict=True)
        ]
        self._times = training.new_times(
            self._runs, 1 if self._schedule is None else self._schedule.period
        )
        self._checkpoint = Checkpoint(chosen.checkpoint, chosen.fingerprint())
        self._first_epoch = training.restore(self._runs, self._checkpoint, self._times)
        if chosen.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                f"tensorboard={chosen.tensorboard!r} needs the package tensorboard: "
                "pip install tensorboard."
            )
        if chosen.output:
            Path(chosen.output).mkdir(parents=True, exist_ok=True)

    def train(self) -> None:
        """Trains for the epochs that are left."""
        chosen = self._chosen
        print(f"{chosen.model} on {self._dataset}")
        if self._first_epoch:
            print(f"Continuing after epoch {self._first_epoch}.")
        common = (
            self._batches,
            self._first_epoch,
            chosen.epochs,
            self._checkpoint,
            chosen.tensorboard,
        )
        if chosen.compare:
            training.compare(self._runs, self._times, *common)
        else:
            training.train(self._runs[0], *common)

    def report(self) -> None:
        """Prints the comparison's table, and writes files if there is an --output."""
        summary = []
        if self._chosen.compare:
            summary = training.summarise(self._runs, self._times)
            print(f"\n{results.format_table(summary)}")
        if not self._chosen.output:
            return
        folder = Path(self._chosen.output)
        rows = [row for run in self._runs for row in run.rows]
        results.write_csv(folder / "history.csv", rows, results.EpochRow)
        if summary:
            results.write_csv(folder / "summary.csv", summary, results.SummaryRow)
        figures.draw_curves(
            {run.method: run.rows for run in self._runs}, folder / "curves.png"
        )
        if self._schedule is not None:
            figures.draw_schedule(
                self._schedule,
                settings.convolutions(self._runs[-1].model),
                folder / "schedule.png",
            )
        print(f"\nWritten: {', '.join(map(str, sorted(folder.iterdir())))}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    try:
        job = Job(read_flags())
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"train.py: {error}")
    job.train()
    job.report()


if __name__ == "__main__":
    app.run(main)
