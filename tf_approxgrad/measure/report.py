"""`FidelityReport`: accuracy and time of each method's gradients, layer by layer."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import os
from typing import TYPE_CHECKING

import rich.console
import rich.markup
import rich.table

from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.utils.plotting import new_axes
from tf_approxgrad.utils.tables import as_text, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Measures that `plot` draws, with the labels of their axes.
_PLOTTED = {
    "cosine": "cosine",
    "relative_error": "relative error",
    "norm_ratio": "ratio of norms",
    "bias": "bias",
    "variance": "variance",
    "method_ms": "milliseconds",
    "speed_up": "dense / method, time",
}

# The gradients that `fidelity` compares, with their names in reports.
GRADIENTS = {
    "filter": "filter gradients",
    "input": "input gradients",
    "propagated": "filter gradients behind approximate input gradients",
}


@dataclasses.dataclass(frozen=True)
class FidelityRow:
    """One layer's gradient by one method, a, compared with the exact gradient g.

    `tf_approxgrad.fidelity` defines the measures.

    Attributes:
        layer: Name of the layer.
        index: Layer index, from 1.
        method: The method.
        cosine: Cosine of the angle between a and g; the mean over the draws.
        relative_error: `|a - g| / |g|`; the root mean square over the draws.
        norm_ratio: `|a| / |g|`; the mean over the draws.
        bias: `|E a - g| / |g|`, corrected for the variance of the mean.
        variance: `E |a - E a|^2 / |g|^2`.
        dense_ms: Median time of the exact gradient in milliseconds; NaN if not timed.
        method_ms: Median time of the method in milliseconds; NaN if not timed.
    """

    layer: str
    index: int
    method: GradientMethod
    cosine: float
    relative_error: float
    norm_ratio: float
    bias: float
    variance: float
    dense_ms: float
    method_ms: float

    @property
    def speed_up(self) -> float:
        """Time of the exact gradient divided by that of the method."""
        return self.dense_ms / self.method_ms


@dataclasses.dataclass(frozen=True)
class FidelityReport:
    """Accuracy and time of each method's gradients, layer by layer.

    `fidelity` returns it. `print` shows a table; so does `rich.print`, in colours.

    Attributes:
        model_name: Name of the model.
        rows: One `FidelityRow` for each layer and method, in the model's layer order.
        without_gradient: Names of requested layers without such a gradient, because
            they are frozen or come first, or no gradient reaches them.
        gradient: `"filter"`, `"input"` or `"propagated"`, as for `fidelity`.

    Example:

    >>> import numpy as np
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(8, 8, 1))
    >>> x, y = np.random.normal(size=(16, 8, 8, 1)), np.random.normal(size=(16, 10))
    >>> report = tfag.fidelity(model, x, y, "zero", loss="mse", repeats=0)
    >>> [(row.layer, row.relative_error) for row in report.rows]
    [('conv1', 1.0), ('conv2', 1.0)]
    """

    model_name: str
    rows: tuple[FidelityRow, ...]
    without_gradient: tuple[str, ...] = ()
    gradient: str = "filter"

    def __str__(self) -> str:
        return as_text(self)

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        del console, options
        name = rich.markup.escape(self.model_name)
        yield f'[bold]Fidelity of {GRADIENTS[self.gradient]} of model: "{name}"[/]'
        timed = not all(math.isnan(row.dense_ms) for row in self.rows)
        table = rich.table.Table()
        table.add_column("Layer, methods", overflow="fold")
        headers = ["Cosine", "Error", "Norm ratio", "Bias", "Variance"]
        for header in [*headers, *["Dense ms", "ms"][: 2 * timed]]:
            table.add_column(header, justify="right")
        for _, group in itertools.groupby(self.rows, lambda row: row.index):
            rows = list(group)
            name = f"{rich.markup.escape(rows[0].layer)} ({number(rows[0].index)})"
            dense = [_short(rows[0].dense_ms)] if timed else []
            table.add_section()
            table.add_row(name, *[""] * len(headers), *dense)
            for row in rows:
                table.add_row(*_cells(row, timed))
        yield table
        if self.without_gradient:
            names = rich.markup.escape(", ".join(self.without_gradient))
            what = "an input" if self.gradient == "input" else "a filter"
            yield f"[bold] Without {what} gradient: [/]{names}"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the rows to a file of comma-separated values, at full precision.

        Args:
            path: Path of the file, which is overwritten if it exists. Columns are the
                attributes of `FidelityRow` and the report's `gradient`; methods are
                written as their labels.
        """
        names = [field.name for field in dataclasses.fields(FidelityRow)]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*names, "gradient"])
            writer.writeheader()
            for row in self.rows:
                # Not dataclasses.asdict, which would convert the method to a dict.
                values = {name: getattr(row, name) for name in names}
                values |= {"method": row.method.label, "gradient": self.gradient}
                writer.writerow(values)

    def plot(self, measure: str = "cosine", ax: Axes | None = None) -> Axes:
        """Draws a measure over the layers, one line for each method.

        Args:
            measure: `"cosine"`, `"relative_error"`, `"norm_ratio"`, `"bias"`,
                `"variance"`, `"method_ms"` or `"speed_up"`.
            ax: Matplotlib Axes to draw on. `None` makes a new figure.

        Returns:
            The Axes. Save the figure with `ax.figure.savefig(path)`.

        Raises:
            ValueError: If the measure is none of these, or is a time that wasn't
                measured.
            ImportError: If matplotlib isn't installed.
        """
        if measure not in _PLOTTED:
            raise ValueError(
                f"measure={measure!r} must be one of {', '.join(map(repr, _PLOTTED))}."
            )
        names = {row.index: row.layer for row in self.rows}
        lines: dict[GradientMethod, dict[int, float]] = {}
        for row in self.rows:
            lines.setdefault(row.method, {})[row.index] = getattr(row, measure)
        if measure in ("method_ms", "speed_up") and all(
            math.isnan(value) for line in lines.values() for value in line.values()
        ):
            raise ValueError(
                f"measure={measure!r} was not measured: call fidelity with repeats=1 "
                "or more, and with gradient='filter' or 'input'."
            )
        if ax is None:
            ax = new_axes(min(4.0 + 0.3 * len(names), 12.0), 4.0)
        places = {index: place for place, index in enumerate(names)}
        for method, line in lines.items():
            xs = [places[index] for index in line]
            ax.plot(xs, list(line.values()), marker="o", label=method.label)
        ax.set_xticks(range(len(names)), list(names.values()), rotation=90)
        ax.set_ylabel(_PLOTTED[measure])
        ax.set_title(GRADIENTS[self.gradient])
        ax.legend()
        return ax


def _cells(row: FidelityRow, timed: bool) -> list[str]:
    measured = (
        row.cosine,
        row.relative_error,
        row.norm_ratio,
        row.bias,
        row.variance,
    )
    return [
        f"  {rich.markup.escape(row.method.label)}",
        *map(_short, measured),
        *["", _short(row.method_ms)][: 2 * timed],
    ]


def _short(value: float) -> str:
    return f"{value:#.3g}"
