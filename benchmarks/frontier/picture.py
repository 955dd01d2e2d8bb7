"""The frontier as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.frontier.points import LOST_AT_MOST, Point
from benchmarks.training.settings import split_combined

_MARKERS = {"full": "*", "resnet14": "P", "all-but-first": "o", "schedule1": "s"}


def _methods_and_schedule(setting: str) -> tuple[str, str]:
    """Splits METHOD@SCHEDULE or METHOD@SCHEDULE@METHOD, or the name of a network.

    Settings that are combined are a method of their own, and so are those of a schedule
    that has no marker: colours tell them apart.
    """
    method, _, rest = setting.partition("@")
    schedule, _, of_inputs = rest.partition("@")
    if len(split_combined(setting)) > 1 or (schedule and schedule not in _MARKERS):
        return setting, "other"
    return f"{method} {of_inputs}".rstrip(), schedule


def draw_frontier(points: Sequence[Point], model: str, path: Path) -> bool:
    """Draws test accuracy over the speed of a step, with bars for the spread.

    Bars span one standard deviation over seeds either way, and the quartiles of the
    speed. Settings that were not timed are left out.

    Args:
        points: The settings.
        model: The network, for the title.
        path: The picture.

    Returns:
        Whether there was anything to draw.
    """
    timed = [point for point in points if not math.isnan(point.faster)]
    if not timed:
        return False
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    parts = [_methods_and_schedule(point.setting) for point in timed]
    approximate = dict.fromkeys(methods for methods, schedule in parts if schedule)
    colours = {name: f"C{number}" for number, name in enumerate(approximate)}
    for (methods, schedule), point in zip(parts, timed, strict=True):
        colour = colours.get(methods, "black")
        deviation = point.test.deviation
        axes.errorbar(
            point.faster,
            point.test.mean,
            xerr=[
                [point.faster - point.faster_low],
                [point.faster_high - point.faster],
            ],
            yerr=0 if math.isnan(deviation) else deviation,
            color=colour,
            marker=_MARKERS.get(point.setting, _MARKERS.get(schedule, "D")),
            markersize=7 if schedule else 11,
            # Hollow where few layers are approximated.
            markerfacecolor="white" if schedule == "schedule1" else colour,
            linestyle="none",
            elinewidth=1,
            capsize=2,
            label="\n  + ".join(split_combined(point.setting)),
        )
        if point.setting == "full":
            axes.axhline(point.test.mean, color="grey", linewidth=0.8)
            axes.axhline(
                point.test.mean - LOST_AT_MOST, color="grey", linewidth=0.8, ls="--"
            )
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("speed of a training step, full = 1")
    axes.set_ylabel("test accuracy (%), mean and deviation over seeds")
    axes.set_title(f"{model}; dashed: {LOST_AT_MOST} points below full")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True
