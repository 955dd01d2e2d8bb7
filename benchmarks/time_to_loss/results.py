"""What the runs and the step times say together.

No TensorFlow here: the tables of the documentation are made with this, too.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a run's curve.

    Attributes:
        contender: Its name.
        seed: Of the initial weights, the order and the methods.
        steps: Training steps up to here.
        images: Images seen up to here.
        loss: Training loss, the mean over the images since the point before.
        test_accuracy: From 0 to 1; NaN where it wasn't tested.
        seconds: Time of the training steps up to here, on a machine that others may
            have used.
        overhead: Processor seconds up to here by which steps exceeded the median, of
            those that did by a fifth or more: of tracing and of deciding. At least the
            time that these would take alone.
    """

    contender: str
    seed: int
    steps: int
    images: int
    loss: float
    test_accuracy: float
    seconds: float
    overhead: float


@dataclasses.dataclass(frozen=True)
class StepTime:
    """Time of a contender's step, with the making of its batch.

    Attributes:
        contender: Its name.
        seed: That of the run whose decision is followed; -1 if it doesn't matter.
        decided: Step from which that decision held; 0 if it doesn't matter.
        step_ms: Median time of a step.
        full_ms: Median time of a step of the baseline beside it.
        ratio: Median of the ratios of `step_ms` and `full_ms`, of steps in turns.
        low: First quartile of these.
        high: Third quartile.
        steps: Timed steps.
    """

    contender: str
    seed: int
    decided: int
    step_ms: float
    full_ms: float
    ratio: float
    low: float
    high: float
    steps: int


@dataclasses.dataclass(frozen=True)
class Curve:
    """A run with its times.

    Attributes:
        contender: Its name.
        seed: Its seed.
        steps: Steps up to each point.
        images: Images up to each point.
        seconds: Time up to each point: steps by their times in turns, and for
            "adaptive" what the run itself took for tracing and deciding.
        losses: Training loss around each point, the mean of it and the one before.
        accuracies: Test accuracy at each point, NaN where it wasn't tested.
    """

    contender: str
    seed: int
    steps: Sequence[int]
    images: Sequence[int]
    seconds: Sequence[float]
    losses: Sequence[float]
    accuracies: Sequence[float]

    def at_loss(self, loss: float, values: Sequence[float]) -> float:
        """Where the loss first gets down to a value; NaN if it doesn't.

        Between points the logarithm of the loss is linear.
        """
        for i, found in enumerate(self.losses):
            if found > loss:
                continue
            if i == 0:
                return values[0]
            before = self.losses[i - 1]
            part = math.log(before / loss) / math.log(before / found)
            return values[i - 1] + part * (values[i] - values[i - 1])
        return math.nan

    def at_steps(self, steps: int) -> int:
        """Number of the last point within so many steps; -1 if there is none."""
        return sum(x <= steps for x in self.steps) - 1

    @property
    def accuracy(self) -> float:
        """The last test accuracy."""
        return [x for x in self.accuracies if not math.isnan(x)][-1]


def curves(points: Iterable[Point], times: Iterable[StepTime]) -> list[Curve]:
    """The runs whose steps were timed.

    The curve of "exact" stands for "full", too, which is the same up to rounding: it
    comes twice where both were timed.
    """
    timed: dict[tuple[str, int], list[StepTime]] = {}
    rows = list(times)
    # Ratios by the median time of the baseline: what slows the machine slows both.
    full_ms = statistics.median(x.full_ms for x in rows) if rows else math.nan
    for row in rows:
        timed.setdefault((row.contender, row.seed), []).append(row)
    found = []
    for (contender, seed), run in itertools.groupby(
        points, key=lambda x: (x.contender, x.seed)
    ):
        own = list(run)
        names = [contender]
        if contender.startswith("exact/"):
            names.append(contender.replace("exact", "full"))
        for name in names:
            own_times = timed.get((name, seed)) or timed.get((name, -1))
            if own_times:
                found.append(_curve(name, seed, own, own_times, full_ms))
    return found


def _curve(
    name: str,
    seed: int,
    points: Sequence[Point],
    times: Sequence[StepTime],
    full_ms: float,
) -> Curve:
    losses = [x.loss for x in points]
    seconds, total, done = [], 0.0, 0
    starts = [x.decided for x in times[1:]]
    for point in points:
        # Before the first decision gradients are exact, which its steps stand for.
        for time, end in zip(times, [*starts, math.inf], strict=True):
            last = min(point.steps, end)
            if last > done:
                total += (last - done) * time.ratio * full_ms / 1e3
                done = int(last)
        of_deciding = point.overhead if name.startswith("adaptive/") else 0.0
        seconds.append(total + of_deciding)
    return Curve(
        name,
        seed,
        [x.steps for x in points],
        [x.images for x in points],
        seconds,
        [losses[0], *(statistics.fmean(x) for x in itertools.pairwise(losses))],
        [x.test_accuracy for x in points],
    )


@dataclasses.dataclass(frozen=True)
class Summary:
    """A contender over its seeds: means, with standard deviations as second.

    Attributes:
        contender: Its name.
        seeds: Number of runs.
        seconds: Time of the whole run.
        loss: Training loss at the end, after the same number of images for all.
        accuracy: Test accuracy there, in percent.
        loss_of_steps: Training loss after as many steps as the baseline makes.
        to_loss: Time to the target.
        gain: How many times as fast as the best "full" batch it gets there.
    """

    contender: str
    seeds: int
    seconds: float
    loss: tuple[float, float]
    accuracy: tuple[float, float]
    loss_of_steps: tuple[float, float]
    to_loss: tuple[float, float]
    gain: float


def summarise(found: Sequence[Curve], target_of: str = "exact/128") -> list[Summary]:
    """The contenders, by their time to the loss that `target_of` ends with.

    The target is the mean over its seeds; NaN stands for a loss that wasn't reached.
    """
    targets = [x for x in found if x.contender == target_of]
    if not targets:
        return []
    target = statistics.fmean(x.losses[-1] for x in targets)
    steps = targets[0].steps[-1]
    rows = []
    names = dict.fromkeys(x.contender for x in found)
    for name in names:
        runs = [x for x in found if x.contender == name]
        within = [(x, x.at_steps(steps)) for x in runs]
        rows.append(
            Summary(
                name,
                len(runs),
                statistics.fmean(x.seconds[-1] for x in runs),
                _spread([x.losses[-1] for x in runs]),
                _spread([100 * x.accuracy for x in runs]),
                _spread([x.losses[i] for x, i in within if i >= 0]),
                _spread([x.at_loss(target, x.seconds) for x in runs]),
                math.nan,
            )
        )
    full = [x.to_loss[0] for x in rows if x.contender.startswith("full/")]
    best = min((x for x in full if not math.isnan(x)), default=math.nan)
    rows = [dataclasses.replace(x, gain=best / x.to_loss[0]) for x in rows]
    return sorted(rows, key=lambda x: (math.isnan(x.gain), -x.gain))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.fmean(values), deviation


def spread(values: tuple[float, float], digits: int, unit: str = "") -> str:
    """A mean with its standard deviation; "-" if there is none."""
    mean, deviation = values
    if math.isnan(mean):
        return "-"
    text = f"{mean:.{digits}f}"
    if not math.isnan(deviation):
        text += f" ± {deviation:.{digits}f}"
    return text + unit
