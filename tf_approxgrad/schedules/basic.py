"""Schedules of a regular pattern over layers and steps.

Schedules 1 to 3 are those of the paper by Wang and Nelaturu (2019), which counts
batches from 1: its "Batch 1" is step 0.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tf_approxgrad import methods
from tf_approxgrad.methods import FullGradient, GradientMethod, MethodLike
from tf_approxgrad.schedules.arguments import check_cell, check_mean_over, layer_names
from tf_approxgrad.schedules.base import Schedule
from tf_approxgrad.schedules.constant import Constant
from tf_approxgrad.utils.checks import as_tuple, check_integer

__all__ = [
    "Alternate",
    "Constant",
    "EveryNthLayer",
    "EveryNthStep",
    "Schedule",
    "TableSchedule",
]


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class EveryNthLayer(Schedule):
    """Approximates layers start, start + n, start + 2n, ... at every step.

    Source: the paper's schedule 1, with n = 4 and start = 2.

    Args:
        method: A gradient method, or its name.
        n: Distance between approximated layers, an integer >= 1.
        start: Index of the first approximated layer, an integer >= 1.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.EveryNthLayer("max")
    >>> [layer for layer in range(1, 20) if schedule(layer, 0).label == "max"]
    [2, 6, 10, 14, 18]
    """

    method: GradientMethod
    n: int
    start: int

    def __init__(self, method: MethodLike, n: int = 4, start: int = 2) -> None:
        self._set(
            method=methods.get(method),
            n=check_integer("n", n, 1),
            start=check_integer("start", start, 1),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, _ = check_cell(layer, step, replica)
        chosen = layer >= self.start and (layer - self.start) % self.n == 0
        return self.method if chosen else FullGradient()

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        count = len(layer_names(layers))
        if self.start > count:
            raise ValueError(
                f"start of EveryNthLayer must be from 1 to {count}, the number of the "
                f"model's convertible layers, got {self.start}: no layer would be "
                "approximated"
            )
        return self


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Alternate(Schedule):
    """Approximates every `layers`-th layer at every `steps`-th step.

    These are the layers and steps with `layer % layers == 0` and
    `step % steps == steps - 1`; by default layers 2, 4, 6, ... at steps 1, 3, 5, ...

    Source: the paper's schedule 2; its Figure 4 shows a network of two layers.

    Args:
        method: A gradient method, or its name.
        layers: Distance between approximated layers, an integer >= 1.
        steps: Distance between approximated steps, an integer >= 1.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Alternate("max")
    >>> [step for step in range(6) if schedule(2, step).label == "max"]
    [1, 3, 5]
    """

    method: GradientMethod
    layers: int
    steps: int

    def __init__(self, method: MethodLike, layers: int = 2, steps: int = 2) -> None:
        self._set(
            method=methods.get(method),
            layers=check_integer("layers", layers, 1),
            steps=check_integer("steps", steps, 1),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        chosen = layer % self.layers == 0 and step % self.steps == self.steps - 1
        return self.method if chosen else FullGradient()

    @property
    def period(self) -> int:
        return self.steps

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        count = len(layer_names(layers))
        if self.layers > count:
            raise ValueError(
                f"layers of Alternate must be from 1 to {count}, the number of the "
                f"model's convertible layers, got {self.layers}: no layer would be "
                "approximated"
            )
        return self


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class EveryNthStep(Schedule):
    """Approximates every layer at steps start, start + n, start + 2n, ...

    Source: the paper's schedule 3, with n = 4 and start = 1, its "Batch 2".

    Args:
        method: A gradient method, or its name.
        n: Distance between approximated steps, an integer >= 1.
        start: First approximated step, an integer >= 0. It may exceed n.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.EveryNthStep("max")
    >>> [step for step in range(12) if schedule(1, step).label == "max"]
    [1, 5, 9]
    """

    method: GradientMethod
    n: int
    start: int

    def __init__(self, method: MethodLike, n: int = 4, start: int = 1) -> None:
        self._set(
            method=methods.get(method),
            n=check_integer("n", n, 1),
            start=check_integer("start", start, 0),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        _, step = check_cell(layer, step, replica)
        chosen = step >= self.start and (step - self.start) % self.n == 0
        return self.method if chosen else FullGradient()

    @property
    def prefix(self) -> int:
        # The n - 1 full steps before the first approximated step are part of a period.
        return max(0, self.start - self.n + 1)

    @property
    def period(self) -> int:
        return self.n


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class TableSchedule(Schedule):
    """A table of methods: a row for each layer, a column for each step, repeated.

    Source: the paper's Figure 3.

    Args:
        table: The rows, one for each of the model's convertible layers. A row holds the
            layer's methods, or their names, at steps 0, 1, ... and has the same length
            >= 1 as the others. After the last column the table starts again. In
            distributed training, a cell may also be a tuple or list of methods, one for
            each replica; all cells then have as many.
        mean_over: Over which replicas the mean of a layer's gradients is, as for
            `Staggered`.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.TableSchedule([["full", "max"], ["zero", "full"]])
    >>> schedule(2, 4).label
    'zero'
    >>> schedule = tfag.TableSchedule([[("full", "max"), ("zero", "full")]])
    >>> schedule(1, step=0, replica=1).label
    'max'
    """

    table: tuple[tuple[GradientMethod | tuple[GradientMethod, ...], ...], ...]
    mean_over: str

    def __init__(
        self,
        table: Iterable[Iterable[MethodLike | Iterable[MethodLike]]],
        mean_over: str = "all",
    ) -> None:
        rows = [
            as_tuple("a row of table", "methods", row)
            for row in as_tuple("table", "rows", table)
        ]
        lengths = [len(row) for row in rows]
        if not rows or min(lengths) < 1 or min(lengths) != max(lengths):
            raise ValueError(
                "table must have at least one row, and rows of the same length >= 1, "
                f"got rows of lengths {lengths}"
            )
        cells = [cell for row in rows for cell in row if isinstance(cell, list | tuple)]
        sizes = {len(cell) for cell in cells}
        if cells and (len(cells) < sum(lengths) or len(sizes) > 1 or 0 in sizes):
            raise ValueError(
                "table must have cells of one method each, or of as many methods, one "
                f"for each replica, got {len(cells)} of {sum(lengths)} cells with "
                f"{sorted(sizes)} methods"
            )
        self._set(
            table=tuple(tuple(map(_methods_of, row)) for row in rows),
            mean_over=check_mean_over(mean_over),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        if layer > len(self.table):
            raise ValueError(
                f"layer must be from 1 to {len(self.table)}, the number of the "
                f"table's rows, got {layer}"
            )
        cell = self.table[layer - 1][step % self.period]
        return cell[replica % len(cell)] if isinstance(cell, tuple) else cell

    @property
    def period(self) -> int:
        return len(self.table[0])

    @property
    def replicas(self) -> int:  # type: ignore[override]
        cell = self.table[0][0]
        return len(cell) if isinstance(cell, tuple) else 1

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        names = layer_names(layers)
        if len(names) != len(self.table):
            raise ValueError(
                f"table must have {len(names)} rows, one for each of the model's "
                f"convertible layers ({', '.join(names)}), got {len(self.table)}"
            )
        return self


def _methods_of(
    cell: MethodLike | Iterable[MethodLike],
) -> GradientMethod | tuple[GradientMethod, ...]:
    """A cell's method, or its methods of the replicas."""
    if isinstance(cell, list | tuple):
        return tuple(map(methods.get, cell))
    return methods.get(cell)  # type: ignore[arg-type]
