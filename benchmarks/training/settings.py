"""The settings of a comparison: what they are called, and what they mean.

A setting is "full"; the name of another network, such as "resnet14", which is trained
with exact gradients; METHOD, which follows the paper's schedule for the network; or
METHOD@SCHEDULE, such as "max:k=4@all-but-first". A third part, as in
"zero@schedule1@sampled", is the method of the input gradients, which are exact without
it. Settings are combined by "+", each for layers of its own, as in
"max@constant:layers=2-4+zero@constant:layers=5-8".
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import tf_approxgrad as tfag

NETWORKS = ("cnn2", "resnet20", "resnet14", "vgg19", "resnet18_half")
SYNTAX = (
    "full, a network, or METHOD or METHOD@SCHEDULE, such as max:k=4@all-but-first, "
    "schedule2, every_nth_layer:n=2:start=2 or constant:layers=2-8"
)
METHODS = {
    method.name: method
    for method in (
        tfag.FullGradient,
        tfag.ExactGradient,
        tfag.WinogradGradient,
        tfag.ZeroGradient,
        tfag.RandomGradient,
        tfag.MaxGradient,
        tfag.SampledGradient,
        tfag.RowSampledGradient,
    )
}
SCHEDULES = {
    "all-but-first": "every_nth_layer:n=1:start=2",
    "schedule1": "every_nth_layer",
    "schedule2": "alternate",
    "schedule3": "every_nth_step",
}


def _read_layers(text: str) -> list[int]:
    """The layers that "1,3-5" names: indices and ranges of them."""
    layers: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        found = range(int(first), int(last or first) + 1)
        if not found:
            raise ValueError(f"the range {item!r} must end where it begins or later")
        layers += found
    return layers


_CLASSES: dict[str, tuple[type[tfag.Schedule], dict[str, Any]]] = {
    "every_nth_layer": (tfag.EveryNthLayer, {"n": int, "start": int}),
    "alternate": (tfag.Alternate, {"layers": int, "steps": int}),
    "every_nth_step": (tfag.EveryNthStep, {"n": int, "start": int}),
    "constant": (tfag.Constant, {"layers": _read_layers}),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a setting's text means.

    Attributes:
        network: The network that is trained.
        schedule: Its schedule, `None` where nothing is approximated.
        input_gradient: The method of the input gradients, `None` where they are exact.
    """

    network: str
    schedule: tfag.Schedule | None = None
    input_gradient: tfag.GradientMethod | None = None


def split_list(text: str) -> list[str]:
    """The settings of a list that commas separate, as layers' indices are, too."""
    return re.split(r",(?=[a-z])", text)


def split_combined(text: str) -> list[str]:
    """The settings that a setting combines, or itself alone."""
    return re.split(r"\+(?=[a-z])", text)


def parse(text: str, network: str, seed: int) -> Setting:
    """Reads a setting.

    Args:
        text: The setting.
        network: What is trained unless the setting is another network.
        seed: That of methods that draw.

    Raises:
        ValueError: If there is no such setting.
    """
    try:
        parts = [_parse(part, network, seed) for part in split_combined(text)]
        if len(parts) == 1:
            return parts[0]
        schedules = [part.schedule for part in parts]
        if None in schedules or any(part.input_gradient for part in parts):
            raise ValueError("what is combined must be METHOD@SCHEDULE")
        return Setting(network, tfag.Combined(schedules))
    except (TypeError, ValueError) as error:
        raise ValueError(f"setting {text!r}: {error}") from error


def _parse(text: str, network: str, seed: int) -> Setting:
    if text == "full":
        return Setting(network)
    if text in NETWORKS:
        return Setting(text)
    method, *others = text.split("@")
    if len(others) > 2 or method.partition(":")[0] in ("full", *NETWORKS):
        raise ValueError(f"must be {SYNTAX}")
    paper = "schedule2" if network == "cnn2" else "schedule1"
    schedule = _read_schedule(others[0] if others else paper, read_method(method, seed))
    inputs = read_method(others[1], seed) if len(others) == 2 else None
    return Setting(network, schedule, inputs)


def read_method(text: str, seed: int) -> tfag.GradientMethod:
    """Reads a method such as "max:k=4:scale=0.5".

    Raises:
        TypeError, ValueError: If there is no such method.
    """
    name, *assignments = text.split(":")
    if name not in METHODS:
        raise ValueError(f"method {name!r} must be one of {', '.join(METHODS)}")
    known = {field.name for field in dataclasses.fields(METHODS[name])}
    values = _read_assignments(name, assignments, dict.fromkeys(known, _read_value))
    if "seed" in known:
        values = {"seed": seed} | values
    return METHODS[name](**values)


def _read_schedule(text: str, method: tfag.GradientMethod) -> tfag.Schedule:
    name, *assignments = SCHEDULES.get(text, text).split(":")
    if name not in _CLASSES:
        raise ValueError(
            f"schedule {text!r} must be one of {', '.join((*SCHEDULES, *_CLASSES))}"
        )
    schedule, readers = _CLASSES[name]
    return schedule(method, **_read_assignments(name, assignments, readers))


def _read_assignments(
    name: str, assignments: list[str], readers: dict[str, Any]
) -> dict[str, Any]:
    values = {}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        if key not in readers or not value:
            raise ValueError(
                f"{assignment!r} must set a parameter of {name}, of which there are "
                f"{', '.join(sorted(readers)) or 'none'}"
            )
        values[key] = readers[key](value)
    return values


def _read_value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
