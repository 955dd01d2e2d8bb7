"""The base class of the schedules: what a schedule is and what it promises.

A schedule is a pure function of the layer's index (from 1, in the model's order) and
the training step (from 0). It holds no state, so a resumed run continues where it
stopped, and it is periodic in pieces, so it can be compiled into the graph.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import keras

from tf_approxgrad import methods
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.schedules import display, periods
from tf_approxgrad.schedules.arguments import layer_names
from tf_approxgrad.schedules.periods import Segment
from tf_approxgrad.utils.checks import check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AnySchedule = TypeVar("AnySchedule", bound="Schedule")

# `row` compares at least this many steps with what each period predicts.
_STEPS_COMPARED = 100


class Schedule(abc.ABC):
    """A pure function (layer, step) -> method. The base class of all schedules.

    To write your own, subclass and override `__call__` and, if the methods change
    from step to step, the properties `prefix` and `period`. They promise that for
    every step >= prefix, `schedule(layer, step) == schedule(layer, step + period)`;
    the graph holds the methods of the first prefix + period steps and no others. A
    schedule that changes its pattern at late steps overrides `segments` instead, and
    the graph holds one period of each. Make the subclass a frozen dataclass, which
    gives it comparison, hashing and `get_config`, and register it with
    `keras.saving.register_keras_serializable`, so that a saved model can hold it.

    Example:

    >>> import dataclasses, keras
    >>> import tf_approxgrad as tfag
    >>> @keras.saving.register_keras_serializable(package="my_project")
    ... @dataclasses.dataclass(frozen=True)
    ... class CheapStart(tfag.Schedule):
    ...     steps: int
    ...
    ...     def __call__(self, layer, step, replica=0):
    ...         cheap = step < self.steps
    ...         return tfag.MaxGradient() if cheap else tfag.FullGradient()
    ...
    ...     @property
    ...     def prefix(self):
    ...         return self.steps
    >>> print(CheapStart(steps=3).preview(layers=2, steps=5))
    layer/step     0     1     2     3     4
             1   max   max   max  full  full
             2   max   max   max  full  full
    """

    @abc.abstractmethod
    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        """Returns the method for a layer at a step.

        Args:
            layer: the layer's index among the model's convertible layers, from 1.
            step: the training step, from 0.
            replica: the replica's index in distributed training, from 0. The
                schedules of this package do the same on every replica.

        Returns:
            The method.

        Raises:
            TypeError: if an argument isn't an integer.
            ValueError: if layer < 1, step < 0 or replica < 0.
        """

    @property
    def prefix(self) -> int:
        """The number of steps before the periodic part, >= 0."""
        return 0

    @property
    def period(self) -> int:
        """The number of steps after which the periodic part repeats, >= 1."""
        return 1

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The pieces (begin, period) of the steps in which the methods repeat.

        The first begins at step 0; each ends where the next begins, and the last
        never ends. For two steps of one segment that are a multiple of its period
        apart, the methods are the same. By default `prefix` steps that don't repeat,
        and then those that do.

        Example:

        >>> import tf_approxgrad as tfag
        >>> schedule = tfag.Piecewise([2, 7], ["zero", tfag.Alternate("max"), "full"])
        >>> [tuple(segment) for segment in schedule.segments]
        [(0, 1), (2, 2), (7, 1)]
        >>> [method.label for method in schedule.row(2)]
        ['zero', 'full', 'max', 'full']
        """
        period = check_integer("period", self.period, 1)
        prefix = check_integer("prefix", self.prefix, 0)
        repeated = Segment(prefix, period)
        return (Segment(0, prefix), repeated) if prefix else (repeated,)

    def column(self, step: int) -> int:
        """Returns the index into a layer's `row` of the method at a step.

        Args:
            step: the training step, from 0.

        Returns:
            An index from 0 to `len(row(layer)) - 1`.
        """
        step = check_integer("step", step, 0)
        return periods.column(periods.segments_of(self), step)

    def row(self, layer: int, replica: int = 0) -> tuple[GradientMethod, ...]:
        """Returns a layer's methods in one period of each segment.

        The method of any step is `row(layer)[column(step)]`. With the `segments` of
        `prefix` and `period` these are the methods at steps 0 to prefix + period - 1.

        Args:
            layer: the layer's index, from 1.
            replica: the replica's index, from 0.

        Returns:
            A tuple of methods.

        Raises:
            ValueError: if the schedule breaks the promise of its segments; of each
                the next period is compared, or the next 100 steps if that is more,
                and the last step.
        """
        pieces = periods.segments_of(self)
        sizes = periods.columns(pieces)
        ends = [*(piece.begin for piece in pieces[1:]), None]
        row: list[GradientMethod] = []
        for (begin, period), size, end in zip(pieces, sizes, ends, strict=True):
            table = [
                methods.get(self(layer, step, replica))
                for step in range(begin, begin + size)
            ]
            last = begin + size + max(period, _STEPS_COMPARED)
            steps = [*range(begin + size, last if end is None else min(end, last))]
            for step in steps if end is None else [*steps, end - 1]:
                promised, method = (
                    table[(step - begin) % period],
                    self(layer, step, replica),
                )
                if methods.get(method) != promised:
                    raise ValueError(
                        f"the segments of {self!r}, or its prefix and period, must "
                        f"describe its methods: from step {begin} with period {period} "
                        f"they promise {promised!r} for layer {layer} at step {step}, "
                        f"got {method!r}"
                    )
            row += table
        return tuple(row)

    def resolve(self, layers: Sequence[Any]) -> "Schedule":
        """Returns the schedule for a certain model, after checking that it fits.

        Args:
            layers: the model's convertible layers in order: objects with `.name`.

        Returns:
            A schedule that refers to layers by index only; often this one.

        Raises:
            TypeError: if layers isn't a sequence of layers.
            ValueError: if there are no layers, or if the schedule doesn't fit them.
        """
        layer_names(layers)
        return self

    def preview(self, layers: int | Sequence[Any], steps: int, start: int = 0) -> str:
        """Returns the schedule as text, a table as in the paper's Figure 3.

        Args:
            layers: the number of layers; or the model's convertible layers, for which
                the schedule is then resolved.
            steps: the number of steps to show.
            start: the first of them.

        Returns:
            A row of steps and a row for each layer, with the methods' labels.

        Raises:
            TypeError, ValueError: if an argument isn't allowed, or the schedule
                doesn't fit the layers.

        Example:

        >>> import tf_approxgrad as tfag
        >>> print(tfag.Alternate("max").preview(layers=2, steps=4))
        layer/step     0     1     2     3
                 1  full  full  full  full
                 2  full   max  full   max
        """
        return display.preview(self, layers, steps, start)

    def plot(
        self,
        layers: int | Sequence[Any],
        steps: int | None = None,
        ax: "Axes | None" = None,
        start: int = 0,
    ) -> "Axes":
        """Draws the table of `preview` as a grid, a colour for each method.

        Of more than 400 steps it draws the share of the approximated ones instead.

        Args:
            layers: as for `preview`.
            steps: the number of steps. None means up to where the last segment begins
                and two of its periods, and at least 8.
            ax: the matplotlib Axes to draw on. None makes a new figure.
            start: the first step.

        Returns:
            The Axes. Nothing is shown; save it with `ax.figure.savefig(path)`.

        Raises:
            ImportError: if matplotlib isn't installed.
            TypeError, ValueError: as for `preview`.
        """
        return display.plot(self, layers, steps, ax, start)

    def fraction(
        self,
        layers: int | Sequence[Any],
        replica: int = 0,
        steps: int | None = None,
    ) -> float:
        """Returns the share of approximated cells.

        Args:
            layers: as for `preview`.
            replica: the replica's index, from 0.
            steps: count over the steps from 0 to steps - 1. None means over the
                period of the last segment: what the schedule does in the long run.

        Returns:
            The share, from 0 to 1, of the (layer, step) cells that aren't full.

        Raises:
            TypeError, ValueError: as for `preview`.

        Example:

        >>> import tf_approxgrad as tfag
        >>> tfag.Alternate("max").fraction(layers=2)
        0.25
        >>> tfag.Until(tfag.Alternate("max"), end=500).fraction(layers=2, steps=1000)
        0.125
        """
        schedule, size = display.resolve_layers(self, layers)
        if steps is not None:
            steps = check_integer("steps", steps, 1)
        flags = [
            [method != FullGradient() for method in schedule.row(layer, replica)]
            for layer in range(1, size + 1)
        ]
        pieces = periods.segments_of(schedule)
        if steps is None:
            steps = pieces[-1].period
            return sum(sum(row[-steps:]) for row in flags) / (size * steps)
        cells = sum(periods.count(row, pieces, steps) for row in flags)
        return cells / (size * steps)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, as values that JSON can hold.

        Raises:
            NotImplementedError: for a subclass that is no dataclass and doesn't
                override this.
        """
        if not dataclasses.is_dataclass(self):
            raise NotImplementedError(
                f"{type(self).__name__} must be a dataclass or override get_config"
            )
        return {
            field.name: keras.saving.serialize_keras_object(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_config(cls: type[AnySchedule], config: dict[str, Any]) -> AnySchedule:
        """Builds the schedule from what `get_config` returned.

        Args:
            config: the constructor's arguments by name.

        Returns:
            A schedule equal to the one that `get_config` was called on.

        Raises:
            TypeError, ValueError: as the constructor does.
        """
        return cls(**config)

    def _set(self, **fields: Any) -> None:
        """Sets the fields of a frozen dataclass, in its constructor only."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)
