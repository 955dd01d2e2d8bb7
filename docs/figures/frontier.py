"""Tables of accuracy and speed by setting, from benchmarks/results/frontier_*.csv.

A setting is written METHOD:ARGUMENTS@LAYERS, several of them joined by "+".
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

from tables import Row, markdown, read, spread, times

NETWORKS = {"resnet20": "ResNet-20", "cnn2": "2-layer CNN", "vgg19": "VGG-19"}
_LAYERS = {"all-but-first": "all but 1", "schedule1": "2, 6, 10, ..."}
# Points of accuracy that a choice may lose on the images held out of training.
_LOST_AT_MOST = 0.5


@dataclasses.dataclass(frozen=True)
class Setting:
    """What was measured of a setting: points against full with the same seed."""

    name: str
    accuracies: list[float]
    gains: list[float]
    holdout_gains: list[float]
    faster: float | None

    @property
    def parts(self) -> list[tuple[str, str, str]]:
        """Method, arguments and layers of each part."""
        parts = []
        for part in self.name.split("+"):
            method, _, layers = part.partition("@")
            method, _, arguments = method.partition(":")
            arguments = arguments.replace(":", ", ")
            layers = _LAYERS.get(layers, layers.removeprefix("constant:layers="))
            parts.append((method, arguments, layers))
        return parts


def measured(network: str) -> list[Setting]:
    """The settings of a network, the exact one first and then by their speed."""
    runs: dict[str, dict[str, Row]] = {}
    for row in read(f"frontier_{network}"):
        runs.setdefault(row["setting"], {})[row["seed"]] = row
    speeds = {
        row["setting"]: float(row["faster"])
        for row in read(f"frontier_{network}_times")
    }

    def gains(own: dict[str, Row], column: str) -> list[float]:
        pairs = ((row, runs["full"][seed]) for seed, row in own.items())
        return [100 * (float(a[column]) - float(b[column])) for a, b in pairs]

    settings = [
        Setting(
            name,
            [100 * float(row["test_accuracy"]) for row in own.values()],
            gains(own, "test_accuracy"),
            gains(own, "holdout_accuracy"),
            speeds.get(name),
        )
        for name, own in runs.items()
    ]
    return sorted(settings, key=lambda x: (x.name != "full", -(x.faster or 0), x.name))


def frontier(network: str) -> str:
    header = ("Method", "Layers", "Seeds", "Test, %", "Against exact", "Step")
    rows = []
    for x in measured(network):
        names, layers = [], []
        for method, arguments, where in x.parts:
            names.append(f"`{method}` {arguments}".strip())
            layers.append(where)
        rows.append(
            (
                "<br>".join(names),
                "<br>".join(layers),
                str(len(x.gains)),
                spread(x.accuracies, 2),
                "" if x.name == "full" else spread(x.gains, 2, "+"),
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
            if all(part[0] == method for part in x.parts):
                arguments = "<br>".join(f"`{part[1]}`" for part in x.parts)
                if arguments == "``":
                    arguments = "default"
                layers = "<br>".join(part[2] for part in x.parts)
                gains, count = spread(x.gains, 2, "+"), str(len(x.gains))
                rows.append((title, arguments, layers, count, gains, _speed(x)))
    return markdown(header, rows, texts=3)


def choice(network: str) -> str:
    """The fastest setting that loses little on the images held out, in a sentence."""
    allowed = [
        x
        for x in measured(network)
        if "@" in x.name
        and len(x.gains) >= 3
        and (x.faster or 0) > 1
        and statistics.fmean(x.holdout_gains) >= -_LOST_AT_MOST
    ]
    best = max(allowed, key=lambda x: x.faster or 0)
    names = " and ".join(
        f"`{method}` {f'with {arguments} ' if arguments else ''}on layers {layers}"
        for method, arguments, layers in best.parts
    )
    return (
        f"The fastest setting that loses at most {_LOST_AT_MOST} points on images held "
        f"out of training is {names}: {spread(best.gains, 2, '+')} points on the test "
        f"images, {_speed(best)}."
    )


def _speed(setting: Setting) -> str:
    if setting.name == "full":
        return times(1)
    return "not timed" if setting.faster is None else times(setting.faster)


FRONTIER_TABLES: dict[str, Callable[..., str]] = {
    "choice": choice,
    "frontier": frontier,
    "training": training,
}
