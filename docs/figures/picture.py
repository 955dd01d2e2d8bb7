"""README's picture, an SVG: training loss over seconds, of exact and sampled runs."""

from __future__ import annotations

import html
from collections.abc import Iterable

from tables import Row, read, run_name

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 44, 56
_SECONDS, _LOSS = (40.0, 220.0), (0.26, 0.46)
_EXACT, _SAMPLED, _GREY = "#555555", "#d9480f", "#888888"


def smaller_batch() -> str:
    """Filter gradients alone; runs whose time was disturbed are left out."""
    runs = [
        row
        for row in read("smaller_batch_resnet18")
        if row["seconds"] and row["disturbed"] == "False" and row["gradients"] != "both"
    ]
    exact = [row for row in runs if row["method"] == "full"]
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
            *_points(exact, _EXACT, lambda row: f"exact, batch {row['batch']}", -10),
            *_points(sampled, _SAMPLED, run_name, 20),
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


def _axes() -> Iterable[str]:
    bottom = _HEIGHT - _BOTTOM
    for loss in (0.30, 0.35, 0.40, 0.45):
        y = _y(loss)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>'
        yield _text(_LEFT - 8, y + 4, f"{loss:.2f}", _GREY, "end")
    for seconds in (50, 100, 150, 200):
        yield _text(_x(seconds), bottom + 18, str(seconds), _GREY, "middle")
    yield f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="{_GREY}"/>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield _text(middle, _HEIGHT - 14, "seconds for 600 steps", _GREY, "middle")
    yield _text(_LEFT + 8, _TOP + 14, "training loss, last 150 steps", _GREY)


def _points(rows: Iterable[Row], colour: str, name, below: int) -> Iterable[str]:
    for row in rows:
        x, y = _place(row)
        anchor = "end" if x > _WIDTH * 0.7 else "start"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
        yield _text(x, y + below, name(row), colour, anchor)
