r"""Trains a network under several settings side by side, and compares them.

    python -m benchmarks.training.compare --model=resnet20 --settings=full,zero,max

All train on the same batches, their steps in turns. A setting is full, which must be
among them, or a method: zero, random, max, sampled or row-sampled, with parameters
behind colons, as in max:k=4. It follows the paper's schedule for the network unless it
names its own, as in max:k=4@all-but-first or zero@constant:layers=5-8. With
--checkpoint a run that was interrupted goes on after its last whole epoch when the same
command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import tf_approxgrad as tfag
from benchmarks.arguments import at_least, make_parser
from benchmarks.rows import align, write_csv
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.datasets import VALIDATIONS, load_dataset
from benchmarks.training.loop import EpochRow, Run, Training
from benchmarks.training.recipe import add_recipe, read_recipe
from benchmarks.training.settings import split_list


@dataclasses.dataclass(frozen=True)
class SummaryRow:
    """One setting of a comparison.

    Attributes:
        setting: Its name.
        best_accuracy: The best validation accuracy of all epochs, 0 to 1.
        last_accuracy: That of the last epoch.
        accuracy_lost: How far the best lies below the exact gradient's best, in points.
        step_ms: The median step time, NaN if no step was timed.
        times_as_fast: How many times as fast as full's a step is.
    """

    setting: str
    best_accuracy: float
    last_accuracy: float
    accuracy_lost: float
    step_ms: float
    times_as_fast: float


def summarise(training: Training) -> list[SummaryRow]:
    """A row of the comparison's table for each run; one of them is "full"."""
    runs, times = training.runs, training.times
    best = {run.name: max(row.val_accuracy for row in run.rows) for run in runs}
    return [
        SummaryRow(
            setting=run.name,
            best_accuracy=best[run.name],
            last_accuracy=run.rows[-1].val_accuracy,
            accuracy_lost=100 * (best["full"] - best[run.name]),
            step_ms=times.step_ms(run.name),
            times_as_fast=times.times_as_fast(run.name, "full"),
        )
        for run in runs
    ]


def format_table(rows: Iterable[SummaryRow]) -> str:
    """The table of a comparison as text."""
    cells = []
    for row in rows:
        timed = not math.isnan(row.step_ms)
        compared = row.setting != "full"
        cells.append(
            (
                row.setting,
                f"{row.best_accuracy:.2%}",
                f"{row.accuracy_lost:.2f} points" if compared else "-",
                f"{row.step_ms:.1f} ms" if timed else "not timed",
                f"{row.times_as_fast:.2f}x" if timed and compared else "-",
            )
        )
    header = ("setting", "validation accuracy", "accuracy lost", "step time", "speed")
    return align(header, cells)


def draw_curves(runs: Iterable[Run], path: Path) -> None:
    """Draws loss and validation accuracy over the epochs, a line for each setting."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for run in runs:
        epochs = [row.epoch for row in run.rows]
        style = {"marker": "o", "markersize": 3, "label": run.name}
        left.plot(epochs, [row.loss for row in run.rows], **style)
        right.plot(epochs, [100 * row.val_accuracy for row in run.rows], **style)
    left.set_ylabel("training loss")
    right.set_ylabel("validation accuracy (%)")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_schedule(run: Run, path: Path) -> None:
    """Draws which layer is approximated at which step."""
    rows = tfag.conversion_report(run.model).rows
    layers = [run.model.get_layer(row.name) for row in rows if row.index is not None]
    figure, axes = plt.subplots(figsize=(7, 1.5 + 0.2 * len(layers)))
    run.setting.schedule.plot(layers, ax=axes)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def report(training: Training, folder: Path | None) -> None:
    """Prints the table, and writes files if there is a folder."""
    summary = summarise(training)
    print(f"\n{format_table(summary)}")
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for run in training.runs for row in run.rows]
    write_csv(folder / "history.csv", rows, EpochRow)
    write_csv(folder / "summary.csv", summary, SummaryRow)
    draw_curves(training.runs, folder / "curves.png")
    approximate = [run for run in training.runs if run.setting.schedule]
    draw_schedule(approximate[-1], folder / "schedule.png")
    print(f"\nWritten: {', '.join(map(str, sorted(folder.iterdir())))}")


def make_training(args: argparse.Namespace) -> Training:
    """Everything that can be wrong with the arguments shows here.

    Raises:
        OSError, ValueError: If an argument isn't allowed.
    """
    names = args.settings
    if "full" not in names or len(set(names)) < max(2, len(names)):
        raise ValueError(
            f"settings={','.join(names)} must have full, which the others are compared "
            "with, and at least one more, each once."
        )
    recipe = read_recipe(args)
    fingerprint = dataclasses.asdict(recipe)
    # A run that is continued may have more epochs.
    del fingerprint["epochs"]
    fingerprint |= {"seed": args.seed, "validation": args.validation, "settings": names}
    dataset = load_dataset(recipe.data, recipe.images, args.validation)
    print(f"{recipe.model} on {dataset}")
    return Training(
        names, recipe, dataset, args.seed, Checkpoint(args.checkpoint, fingerprint)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_recipe(parser)
    add = parser.add_argument
    add("--settings", type=split_list, default="full,zero,max", help="see above")
    add(
        "--validation",
        choices=VALIDATIONS,
        default="test",
        help="what to validate on: the test images, to report a result, or images held "
        "out of training, to choose settings",
    )
    add("--seed", type=at_least(0), default=0, help="of weights, order and methods")
    add(
        "--output",
        type=Path,
        help="folder for history.csv, summary.csv, curves.png and schedule.png, which "
        "replace those of an earlier run; the schedule is that of the last setting",
    )
    add("--checkpoint", type=Path, help="folder to save to, and to continue from")
    args = parser.parse_args(arguments)
    try:
        training = make_training(args)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if training.finished:
        print(f"Continuing after epoch {training.finished}.")
    training.train()
    report(training, args.output)


if __name__ == "__main__":
    main()
