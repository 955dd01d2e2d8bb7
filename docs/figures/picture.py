"""README's picture, an SVG: training loss over seconds, of exact and sampled runs."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Iterator, Sequence

from smaller_batch import run_name, timed_runs
from tables import Row

_WIDTH, _HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 44, 56
_SECONDS, _LOSS = (80.0, 215.0), (0.265, 0.355)
_EXACT, _SAMPLED, _GREY = "#555555", "#d9480f", "#888888"


def smaller_batch() -> str:
    """Runs of approximate filter gradients, and the exact ones that are as good."""
    runs = [row for row in timed_runs() if row["gradients"] != "both"]
    exact = [row for row in runs if row["method"] == "full"]
    exact = [row for row in exact if float(row["loss_quarter_4"]) < _LOSS[1]]
    sampled = [row for row in runs if row["method"] != "full"]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_place, exact))
    title = "600 steps of half-width ResNet-18 on Fashion-MNIST, two CPU cores"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="13">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            _text(_LEFT, 26, title, "black", size=15),
            *_axes(),
            f'<polyline points="{line}" fill="none" stroke="{_EXACT}"/>',
            *(part for row in exact for part in _point(row, exact)),
            *(part for row in sampled for part in _point(row, exact)),
            "</svg>\n",
        ]
    )


def _place(row: Row) -> tuple[float, float]:
    return _x(float(row["seconds"])), _y(float(row["loss_quarter_4"]))


def _x(seconds: float) -> float:
    low, high = _SECONDS
    return _LEFT + (seconds - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _y(loss: float) -> float:
    low, high = _LOSS
    return _TOP + (high - loss) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _text(
    x: float, y: float, text: str, fill: str, anchor: str = "start", size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" '
        f'font-size="{size}">{html.escape(text)}</text>'
    )


def _axes() -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for loss in (0.28, 0.30, 0.32, 0.34):
        y = _y(loss)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>'
        yield _text(_LEFT - 8, y + 4, f"{loss:.2f}", _GREY, "end")
    for seconds in (100, 125, 150, 175, 200):
        yield _text(_x(seconds), bottom + 18, str(seconds), _GREY, "middle")
    yield f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="{_GREY}"/>'
    yield _text((_LEFT + right) / 2, _HEIGHT - 14, "seconds", _GREY, "middle")
    yield _text(_LEFT + 8, _TOP + 6, "training loss of the last 150 steps", _GREY)
    yield _text(right, _TOP + 6, "row-sampled, batch 128", _SAMPLED, "end")


def _point(row: Row, exact: Sequence[Row]) -> Iterable[str]:
    """A dot with its label, above the line of the exact runs or below it."""
    x, y = _place(row)
    is_exact = row["method"] == "full"
    colour = _EXACT if is_exact else _SAMPLED
    name = run_name(row).replace("row-sampled", "share")
    label = f"exact, batch {row['batch']}" if is_exact else name
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
    is_first = is_exact and row is exact[-1]
    if not is_first and y >= _line_at(x, exact):
        return dot, _text(x, y + 20, label, colour, "end")
    anchor = "end" if x > _WIDTH * 0.75 else "start"
    return dot, _text(x, y - 10, label, colour, anchor)


def _line_at(x: float, exact: Sequence[Row]) -> float:
    points = sorted(map(_place, exact))
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]
