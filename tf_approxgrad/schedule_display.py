"""A schedule as text and as a picture: one row per layer, one column per step."""

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tf_approxgrad.checks import check_integer
from tf_approxgrad.methods import FullGradient

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tf_approxgrad.schedule_base import Schedule

# Fewer steps than this make a poor picture of a schedule with a short period.
_FEWEST_STEPS = 8
_FULL_COLOR = "lightgray"


def resolve_layers(
    schedule: "Schedule", layers: int | Sequence[Any]
) -> tuple["Schedule", int]:
    """Returns the schedule to show and the number of its layers.

    Args:
        schedule: the schedule.
        layers: the number of layers, or the model's convertible layers in order, for
            which the schedule is then resolved.

    Returns:
        The (resolved) schedule and the number of layers, >= 1.

    Raises:
        TypeError, ValueError: if layers is neither, or if the schedule doesn't fit.
    """
    if isinstance(layers, int | numbers.Integral):
        return schedule, check_integer("layers", layers, 1)
    return schedule.resolve(layers), len(layers)


def _label_table(schedule: "Schedule", count: int, steps: int) -> list[list[str]]:
    """Returns the methods' labels, a list of steps for each of `count` layers."""
    check_integer("steps", steps, 1)
    rows = [schedule.row(layer) for layer in range(1, count + 1)]
    return [[row[schedule.column(step)].label for step in range(steps)] for row in rows]


def preview(schedule: "Schedule", layers: int | Sequence[Any], steps: int) -> str:
    """Returns the table as text: see `Schedule.preview`."""
    schedule, count = resolve_layers(schedule, layers)
    table = _label_table(schedule, count, steps)
    header = ["layer/step", *map(str, range(steps))]
    lines = [header, *([str(i), *labels] for i, labels in enumerate(table, start=1))]
    width = max(len(cell) for line in lines for cell in line[1:])
    return "\n".join(
        "  ".join(
            [line[0].rjust(len(header[0])), *(cell.rjust(width) for cell in line[1:])]
        )
        for line in lines
    )


def plot(
    schedule: "Schedule",
    layers: int | Sequence[Any],
    steps: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the table as a coloured grid: see `Schedule.plot`."""
    schedule, count = resolve_layers(schedule, layers)
    if steps is None:
        steps = max(schedule.prefix + 2 * schedule.period, _FEWEST_STEPS)
    table = _label_table(schedule, count, steps)
    try:
        import matplotlib
        from matplotlib import pyplot
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install matplotlib") from error

    if ax is None:
        _, ax = pyplot.subplots(
            figsize=(min(3.0 + 0.3 * steps, 12.0), min(1.5 + 0.3 * count, 10.0)),
            layout="constrained",
        )
    full = FullGradient().label
    labels = sorted(
        {label for row in table for label in row},
        key=lambda label: (label != full, label),
    )
    # Ten colours that are easy to tell apart, or as many as it takes.
    palette = matplotlib.colormaps["tab10"]
    if len(labels) > palette.N:
        palette = matplotlib.colormaps["turbo"].resampled(len(labels))
    colors = [
        _FULL_COLOR if label == full else palette(index)
        for index, label in enumerate(labels)
    ]
    ax.pcolormesh(
        [step - 0.5 for step in range(steps + 1)],
        [layer + 0.5 for layer in range(count + 1)],
        [[labels.index(label) for label in row] for row in table],
        cmap=ListedColormap(colors),
        vmin=-0.5,
        vmax=len(labels) - 0.5,
        edgecolors="white",
        linewidth=0.5,
    )
    ax.set_ylim(count + 0.5, 0.5)  # Layer 1 on top, as in the text.
    ax.set_xlabel("training step")
    ax.set_ylabel("convolution layer")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(
        handles=[
            Patch(facecolor=color, label=label)
            for color, label in zip(colors, labels, strict=True)
        ],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    return ax
