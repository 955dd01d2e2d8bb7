"""The frontier's table and its choice as text."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchmarks.frontier.points import LOST_AT_MOST, Point, Spread
from benchmarks.rows import align
from benchmarks.training.settings import split_combined


def format_points(points: Iterable[Point]) -> str:
    """The table of the frontier as text; what is combined has a line for each."""
    header = ("setting", "seeds", "held out", "test", "lost there", "speed")
    cells: list[tuple[str, ...]] = []
    for x in points:
        first, *others = split_combined(x.setting)
        cells.append(
            (
                first,
                str(x.seeds),
                _format(x.holdout, "%"),
                _format(x.test, "%"),
                "-" if x.setting == "full" else _format(x.test_lost, ""),
                "not timed" if math.isnan(x.faster) else f"{x.faster:.3f}x",
            )
        )
        cells += [(f"  + {other}", *[""] * (len(header) - 1)) for other in others]
    return align(header, cells)


def format_choice(best: Point | None) -> str:
    """What was chosen, in a sentence or two."""
    if best is None:
        return (
            f"No setting is faster than full and loses at most {LOST_AT_MOST} points "
            "on the images held out of training, with all seeds made."
        )
    return (
        f"Chosen on the images held out of training: {best.setting}. On the test "
        f"images it loses {_format(best.test_lost, '')} points, and a step is "
        f"{best.faster:.3f} times as fast."
    )


def _format(spread: Spread, unit: str) -> str:
    if math.isnan(spread.mean):
        return "-"
    text = f"{spread.mean:.2f}{unit}"
    return text if math.isnan(spread.deviation) else f"{text} +- {spread.deviation:.2f}"
