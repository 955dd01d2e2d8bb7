r"""Times whole training steps of the paper's networks under its schedules.

    python -m benchmarks.steps.step --models=resnet20 --csv=step.csv

For each network and schedule, one model with exact gradients, one with zero and one
with max train on the same made-up batches, their steps in turns. A ratio is the median
over windows of one period of the schedule.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np

from benchmarks.arguments import add_threads, at_least, make_parser, new_file
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.paired_times import PairedTimes
from benchmarks.rows import merge, write_csv
from benchmarks.training.datasets import CLASSES, Dataset
from benchmarks.training.loop import Training
from benchmarks.training.recipe import Recipe
from benchmarks.training.settings import NETWORKS, SCHEDULES

_IMAGE_SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a network under a schedule.

    Attributes:
        model: The network.
        schedule: One of `SCHEDULES`; the numbers are the paper's.
        full_ms: Median time of a step with exact gradients.
        zero_ms: That with zero.
        max_ms: That with max.
        zero_ratio: How many times as fast as full zero is.
        max_ratio: How many times as fast as full max is.
        share_kept: The share of zero's gain in time that max keeps, in percent; NaN
          where zero gains none.
    """

    model: str
    schedule: str
    full_ms: float
    zero_ms: float
    max_ms: float
    zero_ratio: float
    max_ratio: float
    share_kept: float


@dataclasses.dataclass(frozen=True)
class Options:
    """How the networks are trained."""

    batch: int
    width: float


@dataclasses.dataclass(frozen=True)
class CsvRow(Options, Row, Machine):
    """A row with all that it depends on."""


def make_row(model: str, schedule: str, times: PairedTimes) -> Row:
    names = {"full": "full"} | {x: f"{x}@{schedule}" for x in ("zero", "max")}
    ms = {f"{method}_ms": times.step_ms(name) for method, name in names.items()}
    ratios = {x: times.times_as_fast(names[x], "full") for x in ("zero", "max")}
    saved = {method: 1 - 1 / ratio for method, ratio in ratios.items()}
    share = saved["max"] / saved["zero"] if saved["zero"] > 0 else math.nan
    return Row(
        model=model,
        schedule=schedule,
        **ms,
        zero_ratio=ratios["zero"],
        max_ratio=ratios["max"],
        share_kept=100 * share,
    )


def measure(model: str, schedule: str, options: Options, steps: int) -> Row:
    """Times `steps` steps of each method, in turns."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (options.batch, *_IMAGE_SHAPE), np.uint8)
    labels = generator.integers(0, CLASSES, options.batch)
    dataset = Dataset("made up", "test", images, labels, images, labels)
    recipe = Recipe(model=model, batch=options.batch, width=options.width)
    names = ["full", f"zero@{schedule}", f"max@{schedule}"]
    training = Training(names, recipe, dataset, seed=0)
    training.time(steps)
    return make_row(model, schedule, training.times)


_FORM = "{:10} {:14} {:>9} {:>9} {:>9} {:>10} {:>9} {:>10}"


def format_row(row: Row) -> str:
    return _FORM.format(
        row.model,
        row.schedule,
        f"{row.full_ms:.1f}",
        f"{row.zero_ms:.1f}",
        f"{row.max_ms:.1f}",
        f"{row.zero_ratio:.3f}x",
        f"{row.max_ratio:.3f}x",
        "-" if math.isnan(row.share_kept) else f"{row.share_kept:.0f}%",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    models = [network for network in NETWORKS if network != "resnet14"]
    add("--models", default=",".join(models), help="of " + ", ".join(NETWORKS))
    add("--schedules", default=",".join(SCHEDULES), help="of " + ", ".join(SCHEDULES))
    add("--csv", type=new_file, help="file to write the rows to")
    add("--batch", type=at_least(1), default=128, help="images in a batch")
    add("--width", type=float, default=1.0, help="factor on the networks' channels")
    add("--steps", type=at_least(4), default=24, help="timed steps of each method")
    args = parser.parse_args(arguments)
    for name, allowed in (("models", NETWORKS), ("schedules", SCHEDULES)):
        for value in getattr(args, name).split(","):
            if value not in allowed:
                parser.error(f"--{name}: {value!r} is none of {', '.join(allowed)}")
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    print(f"{machine}; ms a step\n")
    titles = ("model", "schedule", "full", "zero", "max", "full/zero", "full/max")
    print(_FORM.format(*titles, "zero kept"))
    options = Options(args.batch, args.width)
    rows = []
    for model in args.models.split(","):
        for schedule in args.schedules.split(","):
            row = measure(model, schedule, options, args.steps)
            print(format_row(row), flush=True)
            rows.append(merge(CsvRow, machine, row, options))
            keras.utils.clear_session()
    if args.csv:
        write_csv(args.csv, rows, CsvRow)


if __name__ == "__main__":
    main()
