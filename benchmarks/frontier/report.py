"""What the frontier's rows say: means and spreads, a table and the choice."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence

from benchmarks.frontier.runs import AccuracyRow
from benchmarks.frontier.times import TimeRow
from benchmarks.rows import align
from benchmarks.training.settings import split_combined

# Points of accuracy that a choice may lose on the images held out.
LOST_AT_MOST = 0.5


@dataclasses.dataclass(frozen=True)
class Spread:
    """The mean over seeds and the sample standard deviation, NaN of a single seed."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if not values:
            return cls(math.nan, math.nan)
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), deviation)


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting of the frontier. Accuracies and losses are in percent and points.

    Attributes:
      setting: See benchmarks/training/settings.py.
      seeds: How many runs there are.
      holdout: Accuracy on the images held out of training.
      test: That on the test images.
      holdout_lost: How far `holdout` lies below that of full with the same seed.
      test_lost: Likewise for `test`.
      faster: How many times as fast as full a step is, NaN if it wasn't timed.
      faster_low: The first quartile of that.
      faster_high: The third quartile.
    """

    setting: str
    seeds: int
    holdout: Spread
    test: Spread
    holdout_lost: Spread
    test_lost: Spread
    faster: float
    faster_low: float
    faster_high: float


def summarise(
    rows: Iterable[AccuracyRow], times: Iterable[TimeRow], order: Sequence[str]
) -> list[Point]:
    """A point for each setting that has a row.

    Args:
      rows: The runs.
      times: The step times.
      order: The settings that come first, in this order.
    """
    runs: dict[str, dict[int, AccuracyRow]] = {}
    for row in rows:
        runs.setdefault(row.setting, {})[row.seed] = row
    timed = {row.setting: row for row in times}
    full = runs.get("full", {})
    points = []
    for setting in [x for x in order if x in runs] + sorted(runs.keys() - {*order}):
        own = runs[setting]
        pairs = [(full[seed], row) for seed, row in own.items() if seed in full]
        speed = (math.nan,) * 3
        if setting == "full":
            speed = (1.0,) * 3
        elif setting in timed:
            time = timed[setting]
            speed = (time.faster, time.faster_low, time.faster_high)
        points.append(
            Point(
                setting,
                len(own),
                Spread.of([100 * x.holdout_accuracy for x in own.values()]),
                Spread.of([100 * x.test_accuracy for x in own.values()]),
                Spread.of(
                    [100 * (a.holdout_accuracy - b.holdout_accuracy) for a, b in pairs]
                ),
                Spread.of(
                    [100 * (a.test_accuracy - b.test_accuracy) for a, b in pairs]
                ),
                *speed,
            )
        )
    return points


def choose_best(points: Iterable[Point], seeds: int) -> Point | None:
    """The fastest setting that loses little accuracy on the images held out.

    The test images have no say in it, so that they can tell what the choice is worth.

    Args:
      points: The settings.
      seeds: Runs that a setting must have.

    Returns:
      The one whose mean loss is at most `LOST_AT_MOST` points and that is faster than
      full; `None` if there is none.
    """
    allowed = [
        x
        for x in points
        if "@" in x.setting
        and x.seeds >= seeds
        and x.holdout_lost.mean <= LOST_AT_MOST
        and x.faster > 1
    ]
    return max(allowed, key=lambda x: x.faster, default=None)


def format_points(points: Iterable[Point]) -> str:
    """The table of the frontier as text; what is combined has a line for each."""
    header = ("setting", "seeds", "held out", "test", "lost there", "speed")
    cells: list[tuple[str, ...]] = []
    for x in points:
        first, *others = split_combined(x.setting)
        cells.append(
            (
                first,
                str(x.seeds),
                _format(x.holdout, "%"),
                _format(x.test, "%"),
                "-" if x.setting == "full" else _format(x.test_lost, ""),
                "not timed" if math.isnan(x.faster) else f"{x.faster:.3f}x",
            )
        )
        cells += [(f"  + {other}", *[""] * (len(header) - 1)) for other in others]
    return align(header, cells)


def format_choice(best: Point | None) -> str:
    """What was chosen, in a sentence or two."""
    if best is None:
        return (
            f"No setting is faster than full and loses at most {LOST_AT_MOST} points "
            "on the images held out of training, with all seeds made."
        )
    return (
        f"Chosen on the images held out of training: {best.setting}. On the test "
        f"images it loses {_format(best.test_lost, '')} points, and a step is "
        f"{best.faster:.3f} times as fast."
    )


def _format(spread: Spread, unit: str) -> str:
    if math.isnan(spread.mean):
        return "-"
    text = f"{spread.mean:.2f}{unit}"
    return text if math.isnan(spread.deviation) else f"{text} +- {spread.deviation:.2f}"
