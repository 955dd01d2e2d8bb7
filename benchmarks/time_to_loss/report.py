"""Time to a given training loss as a table and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.rows import align
from benchmarks.time_to_loss.results import Curve, Summary, spread

_HEADER = (
    "contender",
    "seeds",
    "whole run",
    "loss",
    "test",
    "loss at same steps",
    "to the loss",
    "gain",
)


def format_summaries(rows: Sequence[Summary]) -> str:
    """The table as text."""
    return align(
        _HEADER,
        [
            (
                x.contender,
                str(x.seeds),
                f"{x.seconds:.0f} s",
                spread(x.loss, 3),
                spread(x.accuracy, 2),
                spread(x.loss_of_steps, 3),
                spread(x.to_loss, 0, " s"),
                "-" if math.isnan(x.gain) else f"{x.gain:.2f}x",
            )
            for x in rows
        ],
    )


def draw(found: Sequence[Curve], title: str, path: Path) -> None:
    """Draws training loss and test accuracy over time, a line for each contender.

    Lines are means over seeds.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    names = list(dict.fromkeys(x.contender for x in found))
    for number, name in enumerate(names):
        runs = [x for x in found if x.contender == name]
        style = {
            "color": f"C{number % 10}",
            "linestyle": "--" if name.startswith("full/") else "-",
            "linewidth": 2.5 if name.startswith("adaptive/") else 1.2,
            "label": name,
        }
        left.plot(*_mean([(x.seconds, x.losses) for x in runs]), **style)
        tested = [
            [
                (seconds, 100 * value)
                for seconds, value in zip(x.seconds, x.accuracies, strict=True)
                if not math.isnan(value)
            ]
            for x in runs
        ]
        right.plot(*_mean([list(zip(*x, strict=True)) for x in tested]), **style)
    left.set_yscale("log")
    left.set_ylabel("training loss")
    right.set_ylabel("test accuracy (%)")
    for axes in (left, right):
        axes.set_xlabel("seconds of training steps")
        axes.grid(alpha=0.3, which="both")
    right.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _mean(runs: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """The means over the runs of their first and of their second numbers."""
    return [
        [sum(values) / len(values) for values in zip(*part, strict=True)]
        for part in zip(*runs, strict=True)
    ]
