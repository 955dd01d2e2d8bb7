"""The base class of the schedules: what a schedule is and what it promises.

A schedule is a pure function of the layer's index (from 1, in the model's order) and
the training step (from 0). It holds no state, so a resumed run continues where it
stopped, and it is periodic after a prefix, so it can be compiled into the graph.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import keras

from tf_approxgrad import methods, schedule_display
from tf_approxgrad.checks import check_integer
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.schedule_arguments import layer_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AnySchedule = TypeVar("AnySchedule", bound="Schedule")

# `row` compares at least this many steps with what the period predicts.
_STEPS_COMPARED = 100


class Schedule(abc.ABC):
    """A pure function (layer, step) -> method. The base class of all schedules.

    To write your own, subclass and override `__call__` and, if the methods change
    from step to step, the properties `prefix` and `period`. They promise that for
    every step >= prefix, `schedule(layer, step) == schedule(layer, step + period)`;
    the graph holds the methods of the first prefix + period steps and no others. Make
    the subclass a frozen dataclass, which gives it comparison, hashing and
    `get_config`, and register it with `keras.saving.register_keras_serializable`, so
    that a saved model can hold it.

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

    def column(self, step: int) -> int:
        """Returns the index into a layer's `row` of the method at a step.

        Args:
            step: the training step, from 0.

        Returns:
            An index from 0 to prefix + period - 1.
        """
        step = check_integer("step", step, 0)
        if step < self.prefix:
            return step
        return self.prefix + (step - self.prefix) % self.period

    def row(self, layer: int, replica: int = 0) -> tuple[GradientMethod, ...]:
        """Returns a layer's methods at steps 0 to prefix + period - 1.

        The method of any step is `row(layer)[column(step)]`.

        Args:
            layer: the layer's index, from 1.
            replica: the replica's index, from 0.

        Returns:
            A tuple of prefix + period methods.

        Raises:
            ValueError: if the schedule breaks the promise of `prefix` and `period`;
                the next period is compared, or the next 100 steps if that is more.
        """
        size = check_integer("prefix", self.prefix, 0)
        size += check_integer("period", self.period, 1)
        row = tuple(methods.get(self(layer, step, replica)) for step in range(size))
        for step in range(size, size + max(self.period, _STEPS_COMPARED)):
            promised, method = row[self.column(step)], self(layer, step, replica)
            if methods.get(method) != promised:
                raise ValueError(
                    f"prefix and period of {self!r} must describe its methods: prefix="
                    f"{self.prefix} and period={self.period} promise {promised!r} for "
                    f"layer {layer} at step {step}, got {method!r}"
                )
        return row

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

    def preview(self, layers: int | Sequence[Any], steps: int) -> str:
        """Returns the schedule as text, a table as in the paper's Figure 3.

        Args:
            layers: the number of layers; or the model's convertible layers, for which
                the schedule is then resolved.
            steps: the number of steps, from step 0.

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
        return schedule_display.preview(self, layers, steps)

    def plot(
        self,
        layers: int | Sequence[Any],
        steps: int | None = None,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Draws the table of `preview` as a grid, a colour for each method.

        Args:
            layers: as for `preview`.
            steps: the number of steps, from step 0. None means the prefix and two
                periods, and at least 8.
            ax: the matplotlib Axes to draw on. None makes a new figure.

        Returns:
            The Axes. Nothing is shown; save it with `ax.figure.savefig(path)`.

        Raises:
            ImportError: if matplotlib isn't installed.
            TypeError, ValueError: as for `preview`.
        """
        return schedule_display.plot(self, layers, steps, ax)

    def fraction(self, layers: int | Sequence[Any], replica: int = 0) -> float:
        """Returns the share of approximated cells in the periodic part.

        Args:
            layers: as for `preview`.
            replica: the replica's index, from 0.

        Returns:
            The share, from 0 to 1, of the (layer, step) cells that aren't full.

        Raises:
            TypeError, ValueError: as for `preview`.

        Example:

        >>> import tf_approxgrad as tfag
        >>> tfag.Alternate("max").fraction(layers=2)
        0.25
        """
        schedule, count = schedule_display.resolve_layers(self, layers)
        cells = [
            method != FullGradient()
            for layer in range(1, count + 1)
            for method in schedule.row(layer, replica)[schedule.prefix :]
        ]
        return sum(cells) / len(cells)

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
