"""Schedules composed of other schedules, by range of steps or by layer.

An inner schedule counts the steps of training, not those since it took effect.
"""

import abc
import bisect
import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import keras

from tf_approxgrad.methods import FullGradient, GradientMethod, MethodLike
from tf_approxgrad.schedules import periods
from tf_approxgrad.schedules.arguments import check_cell
from tf_approxgrad.schedules.base import Schedule
from tf_approxgrad.schedules.constant import Constant
from tf_approxgrad.schedules.periods import Segment
from tf_approxgrad.utils.checks import as_tuple, check_integer

# A schedule; or a method, which means that method for all layers at every step.
ScheduleLike: TypeAlias = Schedule | MethodLike


def as_schedule(name: str, value: ScheduleLike) -> Schedule:
    """Returns the schedule that an argument describes.

    Args:
        name: The argument's name, for the message.
        value: A schedule; or a method, or its name, which means `Constant(method)`; or
            the dict from `keras.saving.serialize_keras_object` of either.

    Returns:
        The schedule.

    Raises:
        TypeError, ValueError: If it is none of these.
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


class Composed(Schedule):
    """A schedule whose segments derive from those of others."""

    @property
    @abc.abstractmethod
    def _parts(self) -> tuple[Schedule, ...]:
        """The schedules that it is composed of."""

    @property
    def replicas(self) -> int:  # type: ignore[override]
        return math.lcm(*(part.replicas for part in self._parts))

    @property
    def mean_over(self) -> str:  # type: ignore[override]
        """That of the first part whose methods differ by replica."""
        differing = (part.mean_over for part in self._parts if part.replicas > 1)
        return next(differing, "all")

    @functools.cached_property
    def segments(self) -> tuple[Segment, ...]:
        return self._compose()

    @abc.abstractmethod
    def _compose(self) -> tuple[Segment, ...]:
        """Computes the segments."""

    @property
    def prefix(self) -> int:
        return self.segments[-1].begin

    @property
    def period(self) -> int:
        return self.segments[-1].period


@dataclasses.dataclass(frozen=True, init=False)
class Partial(Composed):
    """A schedule at some steps, exact gradients at all others."""

    schedule: Schedule

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return (self.schedule,)

    @abc.abstractmethod
    def _follows(self, step: int) -> bool:
        """Whether the schedule applies at a step."""

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        if not self._follows(step):
            return FullGradient()
        return self.schedule(layer, step, replica)

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return dataclasses.replace(self, schedule=self.schedule.resolve(layers))


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Piecewise(Composed):
    """Follows one schedule after another.

    `schedules[0]` applies before step `boundaries[0]`, `schedules[1]` from there to
    step `boundaries[1] - 1`, and so on; the last one applies to all later steps.

    Args:
        boundaries: First steps of all schedules but the first, increasing integers >=
            1.
        schedules: Schedules, or methods for all layers, one more than boundaries.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

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

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return self.schedules

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        part = self.schedules[bisect.bisect_right(self.boundaries, step)]
        return part(layer, step, replica)

    def _compose(self) -> tuple[Segment, ...]:
        begins, ends = (0, *self.boundaries), (*self.boundaries, None)
        return tuple(
            segment
            for part, begin, end in zip(self.schedules, begins, ends, strict=True)
            for segment in periods.clip(periods.segments_of(part), begin, end)
        )

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return Piecewise(
            self.boundaries, [part.resolve(layers) for part in self.schedules]
        )


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Combined(Composed):
    """Applies several schedules at once, such as one for each group of layers.

    Where several of them approximate a layer at a step, the first one applies. The
    period is the least common multiple of their periods, all of which the graph
    contains.

    Args:
        schedules: At least one schedule, or method for all layers.

    Raises:
        TypeError, ValueError: If the argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> rows = tfag.Constant(tfag.RowSampledGradient(0.25), layers=[2, 3])
    >>> schedule = tfag.Combined([rows, tfag.EveryNthLayer("sampled", n=1, start=2)])
    >>> [schedule(layer, step=0).label for layer in (1, 2, 3, 4)]
    ['full', 'row-sampled(share=0.25)', 'row-sampled(share=0.25)', 'sampled']
    """

    schedules: tuple[Schedule, ...]

    def __init__(self, schedules: Iterable[ScheduleLike]) -> None:
        parts = as_tuple("schedules", "schedules", schedules)
        if not parts:
            raise ValueError("schedules must have at least one element, got none")
        self._set(
            schedules=tuple(as_schedule("a schedule of schedules", p) for p in parts)
        )

    @property
    def _parts(self) -> tuple[Schedule, ...]:
        return self.schedules

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        for part in self.schedules:
            method = part(layer, step, replica)
            if not isinstance(method, FullGradient):
                return method
        return FullGradient()

    def _compose(self) -> tuple[Segment, ...]:
        return periods.merge([periods.segments_of(part) for part in self.schedules])

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return Combined([part.resolve(layers) for part in self.schedules])


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Until(Partial):
    """Follows a schedule before step `end`; from there all gradients are exact.

    Args:
        schedule: A schedule, or a method for all layers.
        end: First step of exact gradients, an integer >= 1.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> print(tfag.Until("max", end=3).preview(layers=1, steps=5))
    layer/step     0     1     2     3     4
             1   max   max   max  full  full
    """

    end: int

    def __init__(self, schedule: ScheduleLike, end: int) -> None:
        self._set(
            schedule=as_schedule("schedule", schedule), end=check_integer("end", end, 1)
        )

    def _follows(self, step: int) -> bool:
        return step < self.end

    def _compose(self) -> tuple[Segment, ...]:
        before = periods.clip(periods.segments_of(self.schedule), 0, self.end)
        return (*before, Segment(self.end, 1))


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Warmup(Partial):
    """Follows a schedule from step `begin`; before, all gradients are exact.

    Args:
        schedule: A schedule, or a method for all layers.
        begin: First step of the schedule, an integer >= 1.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> print(tfag.Warmup("max", begin=3).preview(layers=1, steps=5))
    layer/step     0     1     2     3     4
             1  full  full  full   max   max
    """

    begin: int

    def __init__(self, schedule: ScheduleLike, begin: int) -> None:
        self._set(
            schedule=as_schedule("schedule", schedule),
            begin=check_integer("begin", begin, 1),
        )

    def _follows(self, step: int) -> bool:
        return step >= self.begin

    def _compose(self) -> tuple[Segment, ...]:
        after = periods.clip(periods.segments_of(self.schedule), self.begin, None)
        return (Segment(0, 1), *after)
