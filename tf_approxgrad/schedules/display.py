"""Schedules as text and as plots: one row per layer, one column per step."""

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.schedules import periods
from tf_approxgrad.utils.checks import check_integer
from tf_approxgrad.utils.plotting import import_pyplot, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Fewer steps than this show too little of a schedule with a short period.
_FEWEST_STEPS = 8
# More columns than this are too narrow to see: the plot shows shares instead.
_MOST_STEPS = 400
_FULL_COLOR = "lightgray"


class Displayed(periods.HasSegments, Protocol):
    """The part of a schedule's interface that this module uses."""

    def row(self, layer: int, replica: int = 0) -> tuple[GradientMethod, ...]: ...

    def column(self, step: int) -> int: ...

    def resolve(self, layers: Sequence[Any]) -> "Displayed": ...


def resolve_layers(
    schedule: Displayed, layers: int | Sequence[Any]
) -> tuple[Displayed, int]:
    """Returns the schedule to show and the number of its layers.

    Args:
        schedule: The schedule.
        layers: Number of layers; or the model's convertible layers in order, for which
            the schedule is then resolved.

    Returns:
        The schedule, resolved if layers are given, and the number of layers, >= 1.

    Raises:
        TypeError, ValueError: If layers is neither, or if the schedule doesn't fit.
    """
    if isinstance(layers, int | numbers.Integral):
        return schedule, check_integer("layers", layers, 1)
    return schedule.resolve(layers), len(layers)


def _label_table(schedule: Displayed, count: int, steps: range) -> list[list[str]]:
    """Returns the methods' labels, one list per layer, one label per step."""
    columns = [schedule.column(step) for step in steps]
    rows = [schedule.row(layer) for layer in range(1, count + 1)]
    return [[row[column].label for column in columns] for row in rows]


def _share_table(
    schedule: Displayed, count: int, edges: list[int]
) -> list[list[float]]:
    """Returns the shares of approximated steps between edges, one list per layer."""
    table, pieces = [], periods.segments_of(schedule)
    for layer in range(1, count + 1):
        flags = [not method.is_exact for method in schedule.row(layer)]
        until = [periods.count(flags, pieces, edge) for edge in edges]
        table.append(
            [
                (until[i] - until[i - 1]) / (edges[i] - edges[i - 1])
                for i in range(1, len(edges))
            ]
        )
    return table


def _check_range(steps: int, start: int) -> range:
    steps, start = check_integer("steps", steps, 1), check_integer("start", start, 0)
    return range(start, start + steps)


def preview(
    schedule: Displayed, layers: int | Sequence[Any], steps: int, start: int
) -> str:
    """Returns the table as text: see `Schedule.preview`."""
    schedule, count = resolve_layers(schedule, layers)
    shown = _check_range(steps, start)
    table = _label_table(schedule, count, shown)
    header = ["layer/step", *map(str, shown)]
    lines = [header, *([str(i), *labels] for i, labels in enumerate(table, start=1))]
    width = max(len(cell) for line in lines for cell in line[1:])
    return "\n".join(
        "  ".join(
            [line[0].rjust(len(header[0])), *(cell.rjust(width) for cell in line[1:])]
        )
        for line in lines
    )


def plot(
    schedule: Displayed,
    layers: int | Sequence[Any],
    steps: int | None,
    ax: "Axes | None",
    start: int,
) -> "Axes":
    """Draws the table as a coloured grid: see `Schedule.plot`."""
    schedule, count = resolve_layers(schedule, layers)
    if steps is None:
        begin, period = periods.segments_of(schedule)[-1]
        steps = max(
            begin + 2 * period - check_integer("start", start, 0), _FEWEST_STEPS
        )
    shown = _check_range(steps, start)
    # First, for an error that names the missing package and how to install it.
    import_pyplot()
    if ax is None:
        width = 3.0 + 0.3 * min(steps, _MOST_STEPS)
        ax = new_axes(min(width, 12.0), min(1.5 + 0.3 * count, 10.0))
    if steps > _MOST_STEPS:
        _draw_shares(schedule, count, shown, ax)
    else:
        _draw_methods(_label_table(schedule, count, shown), shown, ax)
    return ax


def _draw_grid(
    edges: Sequence[int], values: Sequence[Sequence[float]], ax: "Axes", **options: Any
) -> Any:
    """Draws one value per layer and range of steps between edges."""
    from matplotlib.ticker import MaxNLocator

    mesh = ax.pcolormesh(
        [edge - 0.5 for edge in edges],
        [layer + 0.5 for layer in range(len(values) + 1)],
        values,
        **options,
    )
    ax.set_ylim(len(values) + 0.5, 0.5)  # Layer 1 on top, as in the text.
    ax.set_xlabel("training step")
    ax.set_ylabel("convolution layer")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    return mesh


def _draw_shares(schedule: Displayed, count: int, shown: range, ax: "Axes") -> None:
    edges = [
        shown.start + len(shown) * i // _MOST_STEPS for i in range(_MOST_STEPS + 1)
    ]
    shares = _share_table(schedule, count, edges)
    mesh = _draw_grid(edges, shares, ax, cmap="Blues", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(mesh, ax=ax, label="share of steps approximated")


def _draw_methods(table: list[list[str]], shown: range, ax: "Axes") -> None:
    import matplotlib
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    full = FullGradient().label
    labels = sorted(
        {label for row in table for label in row},
        key=lambda label: (label != full, label),
    )
    # Ten distinct colours, or a colour map of more.
    palette = matplotlib.colormaps["tab10"]
    if len(labels) > palette.N:
        palette = matplotlib.colormaps["turbo"].resampled(len(labels))
    colors = [
        _FULL_COLOR if label == full else palette(index)
        for index, label in enumerate(labels)
    ]
    _draw_grid(
        [*shown, shown.stop],
        [[labels.index(label) for label in row] for row in table],
        ax,
        cmap=ListedColormap(colors),
        vmin=-0.5,
        vmax=len(labels) - 0.5,
        edgecolors="white",
        linewidth=0.5,
    )
    ax.legend(
        handles=[
            Patch(facecolor=color, label=label)
            for color, label in zip(colors, labels, strict=True)
        ],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
