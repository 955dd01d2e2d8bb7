"""Tables of the time to a given training loss."""

from __future__ import annotations

import math
from collections.abc import Callable

from tables import markdown, read, times

from benchmarks.rows import parse
from benchmarks.time_to_loss.results import (
    Point,
    StepTime,
    Summary,
    curves,
    spread,
    summarise,
)

_WAYS = {
    "full": "plain Keras",
    "exact": "exact kernels",
    "adaptive": "`AdaptivePlan`",
    "fixed": "its last decision, from the start",
    "zero@schedule1": "`zero`, the paper's schedule 1",
    "max@schedule1": "`max`, the paper's schedule 1",
    "random@schedule1": "`random`, the paper's schedule 1",
}
_ROWS = "row-sampled:share={}:probability=product:keep_largest=True@constant@exact"
for _share in ("0.5", "0.25"):
    _WAYS[_ROWS.format(_share)] = f"`row-sampled` {_share}, all layers"


def _summaries(network: str) -> list[Summary]:
    points = [parse(row, Point) for row in read(f"time_to_loss/{network}")]
    rows = read(f"time_to_loss/{network}_times")
    return summarise(curves(points, [parse(row, StepTime) for row in rows]))


def time_to_loss(network: str) -> str:
    """The contenders of a network, the fastest first."""
    header = (
        "Gradients",
        "Batch",
        "Seeds",
        "Whole run, s",
        "Training loss",
        "Test, %",
        "Loss after the same steps",
        "To the loss, s",
        "Gain",
    )
    cells = []
    for row in _summaries(network):
        way, _, batch = row.contender.rpartition("/")
        cells.append(
            (
                _WAYS.get(way, f"`{way}`"),
                batch,
                str(row.seeds),
                f"{row.seconds:.0f}",
                spread(row.loss, 3),
                spread(row.accuracy, 2),
                spread(row.loss_of_steps, 3),
                spread(row.to_loss, 0),
                "" if math.isnan(row.gain) else times(row.gain),
            )
        )
    return markdown(header, cells)


TIME_TO_LOSS_TABLES: dict[str, Callable[..., str]] = {"time_to_loss": time_to_loss}
