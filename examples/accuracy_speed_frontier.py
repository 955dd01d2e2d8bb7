r"""Trains a network under many methods and schedules: what do they lose, and gain?

    python examples/accuracy_speed_frontier.py --minutes=40
    python examples/accuracy_speed_frontier.py --time

The first makes the runs that are missing in the --results, seed by seed, the most
telling settings first, and ends before a run that wouldn't be finished in time. It can
be interrupted at any moment: the same command goes on after the last whole epoch. So
several processes may share the work. The second times each setting's steps against the
full gradient's, alone on the machine. Both print a table and draw accuracy against
speed; --minutes=0 does only that.

Settings are full, resnet14 (a smaller network) and METHOD@SCHEDULE, as in
max:k=4@all-but-first or random@schedule1. --only=all-but-first$ chooses some, and
--settings names others, also such whose input gradients are approximated, by a third
part: sampled:k=4@all-but-first@row-sampled:share=0.5, or with a method for each group
of layers: max:k=4@constant:layers=2-8+zero@constant:layers=9,10.
A tenth of the training images is held out: choose a setting by its accuracy there, and
report its accuracy on the test images.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from pathlib import Path

import datasets
import figures
import frontier_report as report
import train
from absl import app, flags
from benchmarking import ROOT, measure_machine, set_threads
from frontier_runs import Store, Sweep, Worker
from frontier_settings import choose, default_names, parse
from frontier_times import read_times, time_settings
from settings import Settings

FLAGS = flags.FLAGS
# train.py's flags that a sweep has, too, some with another default.
_SHARED = {
    "model": "resnet20",
    "data": "fashion_mnist",
    "data_path": None,
    "epochs": 6,
    "batch": 128,
    "width": 1.0,
    "batch_norm_momentum": 0.9,
    "augment": False,
    "learning_rate": 1e-3,
    "decay_rate": 0.9,
    "decay_epochs": 1.0,
}


def define_flags() -> None:
    """Defines the flags; other programs have some of the same names."""
    for name, default in _SHARED.items():
        FLAGS.set_default(name, default)
        flags.declare_key_flag(name)
    flags.DEFINE_integer("images", 20_000, "Training images.", lower_bound=10)
    flags.DEFINE_integer("seeds", 3, "Runs of each setting.", lower_bound=1)
    flags.DEFINE_spaceseplist(
        "settings", None, "Settings in place of the usual ones, separated by spaces."
    )
    flags.DEFINE_string(
        "only", None, "Regular expression that a setting must have a match for."
    )
    flags.DEFINE_float("hours", None, "Time in all, by default no limit.", 0.0)
    flags.DEFINE_float("minutes", None, "The same in minutes.", 0.0)
    flags.DEFINE_bool("time", False, "Time steps instead of training for accuracy.")
    flags.DEFINE_integer("steps", 40, "Timed steps of each setting.", lower_bound=2)
    flags.DEFINE_integer("threads", None, "By default one for each processor.", 1)
    flags.DEFINE_string(
        "results",
        None,
        "The CSV file of the runs; step times and the picture stand beside it. By "
        "default benchmarks/results/frontier_MODEL.csv. What is in progress is in the "
        "folder frontier.running beside it.",
    )


def read_base() -> Settings:
    """What the settings of the sweep have in common, from the flags.

    Raises:
      ValueError: If a flag of train.py was given that the sweep decides.
    """
    fields = [field.name for field in dataclasses.fields(Settings)]
    for name in fields:
        if name not in _SHARED and FLAGS[name].present:
            raise ValueError(f"--{name} is one of train.py's: the sweep decides it.")
    base = train.read_flags()
    return dataclasses.replace(base, validation="holdout", limit=FLAGS.images)


class Frontier:
    """One run of the program. Whatever is wrong shows here, before any training.

    Args:
      base: The network, and all that the settings have in common.
      names: The settings.
      path: The CSV file of the runs.

    Raises:
      FileNotFoundError: If data files or the results' folder are missing.
      TypeError, ValueError: If there is no such setting, or the file is of another
        sweep.
    """

    def __init__(self, base: Settings, names: list[str], path: Path) -> None:
        self._base = base
        self._names = names
        for name in names:
            parse(name, base)
        arguments = (base.data, base.data_path)
        self._dataset = datasets.load_dataset(*arguments, "holdout", base.limit)
        tests = datasets.load_dataset(*arguments, "test", base.limit)
        self._tests = dataclasses.replace(
            self._dataset,
            validation="test",
            validation_images=tests.validation_images,
            validation_labels=tests.validation_labels,
        )
        values = dataclasses.asdict(base)
        values["images"] = len(self._dataset.train_images)
        sweep = Sweep(**{x.name: values[x.name] for x in dataclasses.fields(Sweep)})
        self._store = Store(path, sweep)
        self._times_path = path.with_name(f"{path.stem}_times.csv")
        read_times(self._times_path, base)

    def train(self, seeds: int, deadline: float, threads: int) -> None:
        """Makes the runs that are missing, as long as there is time."""
        print(f"{self._base.model} on {self._dataset}")
        machine = measure_machine(threads)
        parts = (self._store, self._base, self._dataset, self._tests, machine)
        Worker(*parts).work(self._names, seeds, deadline)

    def time(self, steps: int, deadline: float, threads: int) -> None:
        """Times the settings."""
        time_settings(
            self._times_path,
            self._store.machine_lock,
            [name for name in self._names if name != "full"],
            self._base,
            self._dataset,
            steps,
            measure_machine(threads),
            deadline,
        )

    def report(self, seeds: int) -> None:
        """Prints the table and the choice, and draws the picture."""
        rows = self._store.rows()
        if not rows:
            print("No run is finished yet.")
            return
        times = read_times(self._times_path, self._base)
        points = report.summarise(rows, times, default_names(self._base.model))
        print(f"\n{report.format_points(points)}\n")
        print(report.format_choice(report.choose_best(points, seeds)))
        path = self._store.path.with_suffix(".png")
        if figures.draw_frontier(points, self._base.model, path):
            print(f"\nWritten: {path}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    threads = FLAGS.threads or os.cpu_count() or 1
    set_threads(threads)
    path = ROOT / "benchmarks" / "results" / f"frontier_{FLAGS.model}.csv"
    minutes = [60 * FLAGS.hours] if FLAGS.hours is not None else []
    minutes += [FLAGS.minutes] if FLAGS.minutes is not None else []
    deadline = time.monotonic() + 60 * min(minutes, default=math.inf)
    try:
        base = read_base()
        names = choose(FLAGS.settings or default_names(base.model), FLAGS.only)
        frontier = Frontier(base, names, Path(FLAGS.results or path))
        if FLAGS.time:
            frontier.time(FLAGS.steps, deadline, threads)
        else:
            frontier.train(FLAGS.seeds, deadline, threads)
        frontier.report(FLAGS.seeds)
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"accuracy_speed_frontier.py: {error}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
