"""Tables of accuracy and speed by setting, from benchmarks/results/frontier_*.csv.

A setting is written METHOD:ARGUMENTS@LAYERS, several of them joined by "+".
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tables import markdown, read, times, wrapped

from benchmarks.frontier.points import (
    LOST_AT_MOST,
    Accuracy,
    Point,
    Spread,
    StepTime,
    choose_best,
    summarise,
)
from benchmarks.rows import parse

NETWORKS = {"resnet20": "ResNet-20", "cnn2": "2-layer CNN", "vgg19": "VGG-19"}
_LAYERS = {"all-but-first": "all but 1", "schedule1": "2, 6, 10, ..."}
# Runs that a setting must have to be chosen.
_SEEDS = 3


def measured(network: str) -> list[Point]:
    """The settings of a network, the exact one first and then by their speed."""
    rows = [parse(row, Accuracy) for row in read(f"frontier_{network}")]
    timed = [parse(row, StepTime) for row in read(f"frontier_{network}_times")]
    points = summarise(rows, timed, ["full"])
    return points[:1] + sorted(
        points[1:], key=lambda x: 0 if math.isnan(x.faster) else -x.faster
    )


def frontier(network: str) -> str:
    header = ("Method", "Layers", "Seeds", "Test, %", "Against exact", "Step")
    rows = []
    for x in measured(network):
        names, layers = [], []
        for method, arguments, where in _parts(x.setting):
            names.append(f"`{method}` {arguments}".strip())
            layers.append(where)
        rows.append(
            (
                "<br>".join(names),
                "<br>".join(layers),
                str(x.seeds),
                f"{x.test.mean:.2f}{_deviation(x.test)}",
                "" if x.setting == "full" else _gain(x.test_lost),
                _speed(x),
            )
        )
    return markdown(header, rows, texts=2)


def training(method: str) -> str:
    """Accuracy and speed of one method on all networks."""
    header = ("Network", "Setting", "Layers", "Seeds", "Points against exact", "Step")
    rows = []
    for network, title in NETWORKS.items():
        for x in measured(network):
            parts = _parts(x.setting)
            if all(part[0] == method for part in parts):
                arguments = "<br>".join(f"`{part[1]}`" for part in parts)
                if arguments == "``":
                    arguments = "default"
                layers = "<br>".join(part[2] for part in parts)
                gain, seeds = _gain(x.test_lost), str(x.seeds)
                rows.append((title, arguments, layers, seeds, gain, _speed(x)))
    return markdown(header, rows, texts=3)


def choice(network: str) -> str:
    """The fastest setting that loses little on the images held out, in a sentence."""
    best = choose_best(measured(network), _SEEDS)
    names = " and ".join(
        f"`{method}` {f'with {arguments} ' if arguments else ''}on layers {layers}"
        for method, arguments, layers in _parts(best.setting)
    )
    return wrapped(
        f"The fastest setting that loses at most {LOST_AT_MOST} points on images held "
        f"out of training is {names}: {_gain(best.test_lost)} points on the test "
        f"images, {_speed(best)}."
    )


def _parts(setting: str) -> list[tuple[str, str, str]]:
    """Method, arguments and layers of each part."""
    parts = []
    for part in setting.split("+"):
        method, _, layers = part.partition("@")
        method, _, arguments = method.partition(":")
        arguments = arguments.replace(":", ", ")
        layers = _LAYERS.get(layers, layers.removeprefix("constant:layers="))
        parts.append((method, arguments, layers))
    return parts


def _gain(lost: Spread) -> str:
    """Two digits, without the sign of a loss that rounds to zero."""
    return f"{round(-lost.mean, 2) + 0.0:+.2f}{_deviation(lost)}"


def _deviation(spread: Spread) -> str:
    return "" if math.isnan(spread.deviation) else f" ± {spread.deviation:.2f}"


def _speed(point: Point) -> str:
    return "not timed" if math.isnan(point.faster) else times(point.faster)


FRONTIER_TABLES: dict[str, Callable[..., str]] = {
    "choice": choice,
    "frontier": frontier,
    "training": training,
}
