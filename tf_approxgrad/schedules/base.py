"""The base class of the schedules.

A schedule is a pure function of the layer's index (from 1, in the model's order) and
the training step (from 0). It holds no state, so a resumed run continues where it
stopped. It is piecewise periodic, so it can be compiled into the graph.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import keras

from tf_approxgrad import methods
from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.schedules import display, periods
from tf_approxgrad.schedules.arguments import layer_names
from tf_approxgrad.schedules.periods import Segment
from tf_approxgrad.utils.checks import check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AnySchedule = TypeVar("AnySchedule", bound="Schedule")

# `row` checks the period of each segment over at least this many steps.
_STEPS_COMPARED = 100


class Schedule(abc.ABC):
    """A pure function (layer index, step) -> method. Base class of all schedules.

    To write a schedule, subclass this and override `__call__` and, if the methods
    change from step to step, the properties `prefix` and `period`: for every step >=
    prefix, `schedule(layer, step) == schedule(layer, step + period)` must hold, as the
    graph contains the methods of the first prefix + period steps only. A schedule whose
    pattern changes at late steps overrides `segments` instead; the graph then contains
    one period of each. Make the subclass a frozen dataclass, for equality, hash and
    `get_config`, and register it with `keras.saving.register_keras_serializable`, for
    saved models.

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

    Attributes:
        replicas: Number of replicas whose methods differ; 1 means that all have the
            same. Replica r has the methods of replica r % replicas.
        mean_over: Over which replicas the mean of a layer's gradients is: `"all"`, or
            `"computed"`, those whose method isn't `zero`.
    """

    # Dataclasses may have fields of these names, which a property would forbid.
    replicas = 1
    mean_over = "all"

    @abc.abstractmethod
    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        """Returns the method for a layer at a step.

        Args:
            layer: Layer index among the model's convertible layers, from 1.
            step: Training step, from 0.
            replica: Index of the replica in distributed training, from 0.

        Returns:
            The method.

        Raises:
            TypeError: If an argument isn't an integer.
            ValueError: If layer < 1, step < 0 or replica < 0.
        """

    @property
    def prefix(self) -> int:
        """Number of steps before the periodic part, >= 0."""
        return 0

    @property
    def period(self) -> int:
        """Number of steps after which the periodic part repeats, >= 1."""
        return 1

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Ranges of steps in which the methods repeat, as pairs (begin, period).

        The first segment begins at step 0; each ends where the next begins, the last
        never. Within a segment, steps that are a multiple of its period apart have the
        same methods. The default is `prefix` steps without repetition, followed by a
        segment of period `period`.

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

    @property
    def input_gradient(self) -> GradientMethod | None:
        """Method of the input gradients where `approximate_gradients` is given none.

        `None`, the default, means TensorFlow's op.
        """
        return None

    def column(self, step: int) -> int:
        """Returns the index of a step's method in a layer's `row`.

        Args:
            step: Training step, from 0.

        Returns:
            An index from 0 to `len(row(layer)) - 1`.
        """
        step = check_integer("step", step, 0)
        return periods.column(periods.segments_of(self), step)

    def row(self, layer: int, replica: int = 0) -> tuple[GradientMethod, ...]:
        """Returns a layer's methods in one period of each segment.

        The method of a step is `row(layer)[column(step)]`. With the default `segments`
        these are the methods at steps 0 to prefix + period - 1.

        Args:
            layer: Layer index, from 1.
            replica: Index of the replica, from 0.

        Returns:
            A tuple of methods.

        Raises:
            ValueError: If the segments don't describe the methods. The next period of
                each segment is checked, or the next 100 steps if that is more, and its
                last step.
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

    def rows(self, layer: int) -> tuple[GradientMethod, ...]:
        """Returns a layer's `row` on each of the `replicas` that differ, in order."""
        return tuple(
            method
            for replica in range(self.replicas)
            for method in self.row(layer, replica)
        )

    def resolve(self, layers: Sequence[Any]) -> "Schedule":
        """Returns the schedule for a model, after checking that it fits.

        Args:
            layers: The model's convertible layers in order: objects with `.name`.

        Returns:
            A schedule that refers to layers by index only; may be this one.

        Raises:
            TypeError: If layers isn't a sequence of layers.
            ValueError: If there are no layers, or if the schedule doesn't fit them.
        """
        layer_names(layers)
        return self

    def preview(self, layers: int | Sequence[Any], steps: int, start: int = 0) -> str:
        """Returns the schedule as a table of text, as in the paper's Figure 3.

        Args:
            layers: Number of layers; or the model's convertible layers, for which the
                schedule is then resolved.
            steps: Number of steps to show.
            start: First step to show.

        Returns:
            A header of steps and a line for each layer, with the methods' labels.

        Raises:
            TypeError, ValueError: If an argument isn't allowed, or the schedule doesn't
                fit the layers.

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
        """Draws the table of `preview` as a grid, with a colour for each method.

        For more than 400 steps it draws the share of approximated steps instead.

        Args:
            layers: As for `preview`.
            steps: Number of steps. None means up to and including two periods of the
                last segment, and at least 8.
            ax: Matplotlib Axes to draw on. None makes a new figure.
            start: First step to show.

        Returns:
            The Axes. Save the figure with `ax.figure.savefig(path)`.

        Raises:
            ImportError: If matplotlib isn't installed.
            TypeError, ValueError: As for `preview`.
        """
        return display.plot(self, layers, steps, ax, start)

    def fraction(
        self,
        layers: int | Sequence[Any],
        replica: int = 0,
        steps: int | None = None,
    ) -> float:
        """Returns the share of approximated (layer, step) cells.

        Args:
            layers: As for `preview`.
            replica: Index of the replica, from 0.
            steps: Number of steps, from step 0, over which to count. None means one
                period of the last segment: the share in the long run.

        Returns:
            The share, from 0 to 1, of the (layer, step) cells whose method isn't exact.

        Raises:
            TypeError, ValueError: As for `preview`.

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
            [not method.is_exact for method in schedule.row(layer, replica)]
            for layer in range(1, size + 1)
        ]
        pieces = periods.segments_of(schedule)
        if steps is None:
            steps = pieces[-1].period
            return sum(sum(row[-steps:]) for row in flags) / (size * steps)
        cells = sum(periods.count(row, pieces, steps) for row in flags)
        return cells / (size * steps)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as JSON values.

        Raises:
            NotImplementedError: If a subclass is no dataclass and doesn't override this
                method.
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
        """Builds a schedule from the result of `get_config`.

        Args:
            config: The constructor's arguments by name.

        Returns:
            A schedule equal to the one described.

        Raises:
            TypeError, ValueError: As for the constructor.
        """
        return cls(**config)

    def _set(self, **fields: Any) -> None:
        """Sets fields of a frozen dataclass in its constructor."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)
