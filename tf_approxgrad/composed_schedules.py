"""Schedules made of schedules: from when, until when and how much they are followed.

The steps of an inner schedule are those of training: it doesn't start anew where it
begins to be followed.
"""

import abc
import bisect
import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import keras

from tf_approxgrad import segments
from tf_approxgrad.checks import as_tuple, check_finite, check_integer
from tf_approxgrad.constant_schedule import Constant
from tf_approxgrad.methods import FullGradient, GradientMethod, MethodLike
from tf_approxgrad.schedule_arguments import check_cell, layer_names
from tf_approxgrad.schedule_base import Schedule
from tf_approxgrad.segments import Segment

# A schedule, or a method, which stands for all layers at every step.
ScheduleLike: TypeAlias = Schedule | MethodLike


def as_schedule(name: str, value: ScheduleLike) -> Schedule:
    """Returns the schedule that an argument stands for.

    Args:
        name: the argument's name, for the message.
        value: a schedule; or a method as `tf_approxgrad.methods.get` takes it, which
            means `Constant(method)`; or the dict that
            `keras.saving.serialize_keras_object` returns for either.

    Returns:
        The schedule.

    Raises:
        TypeError, ValueError: if it is none of these.
    """
    if isinstance(value, dict):
        try:
            value = keras.saving.deserialize_keras_object(value)
        # Keras raises many types of error for a dict that it can't read.
        except Exception as error:
            raise ValueError(
                f"{name} must be a schedule or a method, got {value!r}, which Keras "
                f"can't read: {error}"
            ) from error
    if isinstance(value, Schedule):
        return value
    if isinstance(value, GradientMethod | str):
        return Constant(value)
    raise TypeError(
        f"{name} must be a schedule or a method, got {value!r} ({type(value).__name__})"
    )


class _Composed(Schedule):
    """A schedule whose segments follow from those of others."""

    @functools.cached_property
    def segments(self) -> tuple[Segment, ...]:
        return self._compose()

    @abc.abstractmethod
    def _compose(self) -> tuple[Segment, ...]:
        """Returns the segments."""

    @property
    def prefix(self) -> int:
        return self.segments[-1].begin

    @property
    def period(self) -> int:
        return self.segments[-1].period


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Piecewise(_Composed):
    """Follows one schedule after the other.

    `schedules[0]` before step `boundaries[0]`, `schedules[1]` from there until before
    `boundaries[1]`, and so on; the last one for ever.

    Args:
        boundaries: the first steps of all schedules but the first, increasing
            integers >= 1.
        schedules: one more than boundaries; schedules, or methods for all layers.

    Raises:
        TypeError, ValueError: if an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Piecewise([2, 4], ["zero", tfag.Alternate("max"), "full"])
    >>> print(schedule.preview(layers=2, steps=6))
    layer/step     0     1     2     3     4     5
             1  zero  zero  full  full  full  full
             2  zero  zero  full   max  full  full
    """

    boundaries: tuple[int, ...]
    schedules: tuple[Schedule, ...]

    def __init__(
        self, boundaries: Iterable[int], schedules: Iterable[ScheduleLike]
    ) -> None:
        steps = [
            check_integer("a boundary of boundaries", step, 1)
            for step in as_tuple("boundaries", "steps", boundaries)
        ]
        parts = as_tuple("schedules", "schedules", schedules)
        if steps != sorted(set(steps)):
            raise ValueError(f"boundaries must increase, got {steps}")
        if len(parts) != len(steps) + 1:
            raise ValueError(
                f"schedules must have {len(steps) + 1} elements, one more than "
                f"boundaries, got {len(parts)}"
            )
        self._set(
            boundaries=tuple(steps),
            schedules=tuple(as_schedule("a schedule of schedules", p) for p in parts),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        part = self.schedules[bisect.bisect_right(self.boundaries, step)]
        return part(layer, step, replica)

    def _compose(self) -> tuple[Segment, ...]:
        begins, ends = (0, *self.boundaries), (*self.boundaries, None)
        return tuple(
            segment
            for part, begin, end in zip(self.schedules, begins, ends, strict=True)
            for segment in segments.clip(segments.segments_of(part), begin, end)
        )

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return Piecewise(
            self.boundaries, [part.resolve(layers) for part in self.schedules]
        )


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Until(_Composed):
    """Follows a schedule before step `end`, and trains in full from there.

    Args:
        schedule: a schedule, or a method for all layers.
        end: the first full step, an integer >= 1.

    Raises:
        TypeError, ValueError: if an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> print(tfag.Until("max", end=3).preview(layers=1, steps=5))
    layer/step     0     1     2     3     4
             1   max   max   max  full  full
    """

    schedule: Schedule
    end: int

    def __init__(self, schedule: ScheduleLike, end: int) -> None:
        self._set(
            schedule=as_schedule("schedule", schedule), end=check_integer("end", end, 1)
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        if step >= self.end:
            return FullGradient()
        return self.schedule(layer, step, replica)

    def _compose(self) -> tuple[Segment, ...]:
        before = segments.clip(segments.segments_of(self.schedule), 0, self.end)
        return (*before, Segment(self.end, 1))

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return Until(self.schedule.resolve(layers), self.end)


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Warmup(_Composed):
    """Trains in full before step `begin`, and follows a schedule from there.

    Args:
        schedule: a schedule, or a method for all layers.
        begin: the first step at which it is followed, an integer >= 1.

    Raises:
        TypeError, ValueError: if an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> print(tfag.Warmup("max", begin=3).preview(layers=1, steps=5))
    layer/step     0     1     2     3     4
             1  full  full  full   max   max
    """

    schedule: Schedule
    begin: int

    def __init__(self, schedule: ScheduleLike, begin: int) -> None:
        self._set(
            schedule=as_schedule("schedule", schedule),
            begin=check_integer("begin", begin, 1),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        if step < self.begin:
            return FullGradient()
        return self.schedule(layer, step, replica)

    def _compose(self) -> tuple[Segment, ...]:
        after = segments.clip(segments.segments_of(self.schedule), self.begin, None)
        return (Segment(0, 1), *after)

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return Warmup(self.schedule.resolve(layers), self.begin)


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Ramp(_Composed):
    """Follows a schedule at a share of the steps that grows or falls with time.

    The share is `initial_share` before step `begin`, `final_share` from step `end`, and
    in between changes in a straight line, in stairs of 1/resolution. A period of the
    schedule is followed whole or not at all, so that its pattern stays; the periods
    followed are spread evenly. At all other steps every layer is full.

    Args:
        schedule: a schedule, or a method for all layers.
        begin: the step where the change begins, an integer >= 0.
        end: the step where it is complete, an integer > begin.
        initial_share: the share at the beginning, from 0 to 1.
        final_share: the share at the end, from 0 to 1.
        resolution: an integer >= 1; all shares are rounded to multiples of its inverse.

    Raises:
        TypeError, ValueError: if an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Ramp("max", begin=0, end=10_000)
    >>> [schedule.fraction(layers=2, steps=n) for n in (1_000, 10_000, 1_000_000)]
    [0.047, 0.4996, 0.994996]
    """

    schedule: Schedule
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

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        followed, among = self._followed(step), self.resolution
        place = step // self._unit % among
        if (place + 1) * followed // among == place * followed // among:
            return FullGradient()
        return self.schedule(layer, step, replica)

    @functools.cached_property
    def _unit(self) -> int:
        """The steps that are followed, or not, together."""
        return math.lcm(
            *(segment.period for segment in segments.segments_of(self.schedule))
        )

    def _followed(self, step: int) -> int:
        """How many of `resolution` periods are followed around a step."""
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
            inner = segments.clip(segments.segments_of(self.schedule), begin, end)
            if followed < self.resolution:
                period = self._unit * self.resolution
                inner = tuple(Segment(piece.begin, period) for piece in inner)
            pieces += inner
        return tuple(pieces)

    def _stairs(self) -> list[int]:
        """The steps at which the number of followed periods changes, in order."""
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

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        layer_names(layers)
        return dataclasses.replace(self, schedule=self.schedule.resolve(layers))


def _check_share(name: str, value: float) -> float:
    allowed = "a number from 0 to 1"
    share = check_finite(name, value, allowed, low=0.0)
    if share > 1.0:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return share
