"""The schedule that applies another at a growing or falling share of the steps."""

import bisect
import dataclasses
import functools
import math
from fractions import Fraction

import keras

from tf_approxgrad.schedules import periods
from tf_approxgrad.schedules.composed import Partial, ScheduleLike, as_schedule
from tf_approxgrad.schedules.periods import Segment
from tf_approxgrad.utils.checks import check_finite, check_integer


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Ramp(Partial):
    """Follows a schedule at a share of the steps that changes over training.

    The share is `initial_share` before step `begin` and `final_share` from step `end`.
    In between it changes linearly, in stairs of 1/resolution. Whole periods of the
    schedule are followed, spread evenly, so that its pattern stays. At all other steps
    every layer's gradient is exact.

    Args:
        schedule: A schedule, or a method for all layers.
        begin: Step at which the change begins, an integer >= 0.
        end: Step at which it is complete, an integer > begin.
        initial_share: Share of the steps before `begin`, from 0 to 1.
        final_share: Share of the steps from `end` on, from 0 to 1.
        resolution: Integer >= 1; shares are rounded to multiples of 1/resolution.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Ramp("max", begin=0, end=10_000)
    >>> [schedule.fraction(layers=2, steps=n) for n in (1_000, 10_000, 1_000_000)]
    [0.047, 0.4996, 0.994996]
    """

    begin: int
    end: int
    initial_share: float
    final_share: float
    resolution: int

    def __init__(
        self,
        schedule: ScheduleLike,
        begin: int,
        end: int,
        initial_share: float = 0.0,
        final_share: float = 1.0,
        resolution: int = 16,
    ) -> None:
        begin, end = check_integer("begin", begin, 0), check_integer("end", end, 1)
        if end <= begin:
            raise ValueError(f"end must be more than begin={begin}, got {end}")
        self._set(
            schedule=as_schedule("schedule", schedule),
            begin=begin,
            end=end,
            initial_share=_check_share("initial_share", initial_share),
            final_share=_check_share("final_share", final_share),
            resolution=check_integer("resolution", resolution, 1),
        )

    def _follows(self, step: int) -> bool:
        followed, among = self._followed(step), self.resolution
        place = step // self._unit % among
        return (place + 1) * followed // among != place * followed // among

    @functools.cached_property
    def _unit(self) -> int:
        """Number of steps that are followed, or not, together."""
        return math.lcm(
            *(segment.period for segment in periods.segments_of(self.schedule))
        )

    def _followed(self, step: int) -> int:
        """Number of periods out of `resolution` that are followed around a step."""
        first, last = Fraction(self.initial_share), Fraction(self.final_share)
        way = Fraction(min(max(step, self.begin), self.end) - self.begin)
        share = first + (last - first) * way / (self.end - self.begin)
        return math.floor(share * self.resolution + Fraction(1, 2))

    def _compose(self) -> tuple[Segment, ...]:
        stairs = [0, *self._stairs()]
        pieces: list[Segment] = []
        for begin, end in zip(stairs, [*stairs[1:], None], strict=True):
            followed = self._followed(begin)
            if followed == 0:
                pieces.append(Segment(begin, 1))
                continue
            inner = periods.clip(periods.segments_of(self.schedule), begin, end)
            if followed < self.resolution:
                period = self._unit * self.resolution
                inner = tuple(Segment(piece.begin, period) for piece in inner)
            pieces += inner
        return tuple(pieces)

    def _stairs(self) -> list[int]:
        """Steps at which the number of followed periods changes, in order."""
        stairs, low = [], self.begin
        while self._followed(low) != self._followed(self.end):
            here = self._followed(low)
            # `_followed` is monotonic.
            low += bisect.bisect_left(
                range(low, self.end),
                True,
                key=lambda step: self._followed(step) != here,
            )
            stairs.append(low)
        return stairs


def _check_share(name: str, value: float) -> float:
    allowed = "a number from 0 to 1"
    share = check_finite(name, value, allowed, low=0.0)
    if share > 1.0:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return share
