"""What is measured of the frontier's settings, and the choice among them.

No TensorFlow here: the tables of the documentation are made with this, too.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence

# Points of accuracy that a choice may lose on the images held out.
LOST_AT_MOST = 0.5


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """What a run achieved after its last epoch. Accuracies are from 0 to 1.

    Attributes:
        setting: How it was trained, see benchmarks/training/settings.py.
        seed: Of the initial weights, the order and the methods.
        loss: On the training images.
        holdout_accuracy: On images held out of training, to choose settings.
        test_accuracy: On the test images, to report.
        epoch_seconds: How long an epoch took on a machine that others may have used,
          too: good for planning, no measure of speed. NaN if none was trained after the
          last interruption.
    """

    setting: str
    seed: int
    loss: float
    holdout_accuracy: float
    test_accuracy: float
    epoch_seconds: float


@dataclasses.dataclass(frozen=True)
class StepTime:
    """How fast a step is under a setting.

    Attributes:
        model: The network that exact gradients train.
        batch: Images in a batch.
        width: Factor on the network's channels.
        setting: See benchmarks/training/settings.py.
        full_ms: Median time of a step with exact gradients.
        step_ms: That under the setting.
        faster: How many times as fast as full the setting is: the median over pairs of
          neighbouring windows.
        faster_low: The first quartile of that.
        faster_high: The third quartile.
        steps: Timed steps of each.
    """

    model: str
    batch: int
    width: float
    setting: str
    full_ms: float
    step_ms: float
    faster: float
    faster_low: float
    faster_high: float
    steps: int


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
    rows: Iterable[Accuracy], times: Iterable[StepTime], order: Sequence[str]
) -> list[Point]:
    """A point for each setting that has a row.

    Args:
        rows: The runs.
        times: The step times.
        order: The settings that come first, in this order.
    """
    runs: dict[str, dict[int, Accuracy]] = {}
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
