r"""Trains a network under many methods and schedules: what do they lose, and gain?

    python -m benchmarks.frontier.sweep --minutes=40
    python -m benchmarks.frontier.sweep --time

The first makes the runs that are missing in the --results, seed by seed, the most
telling settings first, and ends before a run that wouldn't be finished in time. It can
be interrupted at any moment: the same command goes on after the last whole epoch. So
several processes may share the work. The second times each setting's steps against
those of exact gradients, alone on the machine. Both print a table and draw accuracy
against speed; --minutes=0 does only that.

Settings are full, resnet14 (a smaller network) and METHOD@SCHEDULE, as in
max:k=4@all-but-first or random@schedule1; benchmarks/training/settings.py says what
else there is. --only=all-but-first$ chooses some, and --settings names others.
A tenth of the training images is held out: choose a setting by its accuracy there, and
report its accuracy on the test images.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import add_threads, at_least, make_parser
from benchmarks.frontier import picture, report
from benchmarks.frontier.points import choose_best, summarise
from benchmarks.frontier.runs import Store, Worker
from benchmarks.frontier.times import read_times, time_settings
from benchmarks.frontier.usual_settings import choose, default_names
from benchmarks.machine import ROOT, measure_machine, set_threads
from benchmarks.training.datasets import load_dataset
from benchmarks.training.recipe import Recipe, add_recipe, read_recipe
from benchmarks.training.settings import parse, split_list

_RESULTS = ROOT / "benchmarks" / "results"


class Frontier:
    """One run of the program. Whatever is wrong shows here, before any training.

    Args:
        recipe: What the settings have in common.
        names: The settings.
        path: The CSV file of the runs.

    Raises:
        FileNotFoundError: If the results' folder is missing.
        ValueError: If there is no such setting, or the file is of another sweep.
    """

    def __init__(self, recipe: Recipe, names: list[str], path: Path) -> None:
        for name in names:
            parse(name, recipe.model, seed=0)
        self._names = names
        self._dataset = load_dataset(recipe.data, recipe.images, "holdout")
        tests = load_dataset(recipe.data, recipe.images)
        self._tests = dataclasses.replace(
            self._dataset,
            validation="test",
            validation_images=tests.validation_images,
            validation_labels=tests.validation_labels,
        )
        images = len(self._dataset.train_images)
        self._recipe = dataclasses.replace(recipe, images=images)
        self._store = Store(path, self._recipe)
        self._times_path = path.with_name(f"{path.stem}_times.csv")
        read_times(self._times_path, recipe)

    def train(self, seeds: int, deadline: float, threads: int) -> None:
        """Makes the runs that are missing, as long as there is time."""
        print(f"{self._recipe.model} on {self._dataset}")
        machine = measure_machine(threads)
        worker = Worker(self._store, self._dataset, self._tests, machine)
        worker.work(self._names, seeds, deadline)

    def time(self, steps: int, deadline: float, threads: int) -> None:
        """Times the settings."""
        time_settings(
            self._times_path,
            self._store.machine_lock,
            [name for name in self._names if name != "full"],
            self._recipe,
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
        times = read_times(self._times_path, self._recipe)
        points = summarise(rows, times, default_names(self._recipe.model))
        print(f"\n{report.format_points(points)}\n")
        print(report.format_choice(choose_best(points, seeds)))
        path = self._store.path.with_suffix(".png")
        if picture.draw_frontier(points, self._recipe.model, path):
            print(f"\nWritten: {path}")


def make_arguments() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add_recipe(parser, model="resnet20", data="fashion_mnist", images=20_000, epochs=6)
    add_threads(parser)
    add = parser.add_argument
    add("--seeds", type=at_least(1), default=3, help="runs of each setting")
    add("--settings", type=split_list, help="in place of the usual ones")
    add("--only", help="regular expression that a setting must have a match for")
    add(
        "--minutes",
        type=at_least(0, float),
        default=math.inf,
        help="time in all, by default no limit",
    )
    add("--time", action="store_true", help="time steps instead of training")
    add("--steps", type=at_least(2), default=40, help="timed steps of each setting")
    add(
        "--results",
        type=Path,
        help="the CSV file of the runs; step times and the picture stand beside it. By "
        "default benchmarks/results/frontier_MODEL.csv. What is in progress is in the "
        "folder frontier.running beside it",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_arguments()
    args = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * args.minutes
    path = args.results or _RESULTS / f"frontier_{args.model}.csv"
    try:
        names = choose(args.settings or default_names(args.model), args.only)
        frontier = Frontier(read_recipe(args), names, path)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    set_threads(args.threads)
    if args.time:
        frontier.time(args.steps, deadline, args.threads)
    else:
        frontier.train(args.seeds, deadline, args.threads)
    frontier.report(args.seeds)


if __name__ == "__main__":
    main()
