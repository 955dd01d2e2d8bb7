"""The settings of the frontier: what they are called, and what they mean.

A setting is "full", the name of another network, such as "resnet14", which is trained
with the full gradient, or METHOD@SCHEDULE, such as "max:k=4@all-but-first". A third
part, as in "zero@schedule1@sampled", is the method of the input gradients, which are
exact without it. Settings are combined by "+", each for layers of its own, as in
"max@constant:layers=2-4+zero@constant:layers=5-8".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import settings
from settings import MODELS, Settings

import tf_approxgrad as tfag

SCHEDULES = {
    "all-but-first": "every_nth_layer:n=1:start=2",
    "schedule1": "every_nth_layer",
    "schedule2": "alternate",
    "schedule3": "every_nth_step",
}
# The most telling first, so that half a sweep says the most.
_METHODS = {
    "all-but-first": (
        "row-sampled:share=0.125",
        "row-sampled:share=0.25",
        "max:k=1",
        "sampled:k=4",
        "zero",
        "max:k=4",
        "sampled:k=1",
        "row-sampled:share=0.0625",
        "random",
    ),
    "schedule1": (
        "zero",
        "max:k=1",
        "row-sampled:share=0.125",
        "max:k=4",
        "row-sampled:share=0.25",
        "sampled:k=4",
        "sampled:k=1",
        "row-sampled:share=0.0625",
        "random",
    ),
}
_PARAMETERS = ("n", "start", "layers", "steps")


def default_names(model: str) -> list[str]:
    """The settings of a network's sweep, the most telling first."""
    names = ["full"]
    if model == "resnet20":
        names.append("resnet14")
    for schedule, methods in _METHODS.items():
        # Of two convolutions, both schedules approximate the second.
        if model != "cnn2" or schedule == "all-but-first":
            names += [f"{method}@{schedule}" for method in methods]
    return names


def choose(names: Sequence[str], pattern: str | None) -> list[str]:
    """Those of `names` in which the regular expression is found, all without one.

    Raises:
      ValueError: If it isn't a regular expression, or found nowhere.
    """
    try:
        chosen = [name for name in names if re.search(pattern or "", name)]
    except re.error as error:
        raise ValueError(
            f"only={pattern!r} isn't a regular expression: {error}."
        ) from error
    if not chosen:
        raise ValueError(f"only={pattern!r} matches none of {', '.join(names)}.")
    return chosen


def split(name: str) -> list[str]:
    """The settings that a setting combines, or itself alone."""
    return re.split(r"\+(?=[a-z])", name)


def parse(name: str, base: Settings) -> tuple[Settings, tfag.Schedule | None]:
    """What a setting means.

    Args:
      name: The setting.
      base: The network, and all that the settings have in common.

    Returns:
      The settings, those of the first of several that are combined; and the schedule,
      `None` where nothing is approximated.

    Raises:
      TypeError, ValueError: If there is no such setting.
    """
    names = split(name)
    parts = [_parse_single(part, base) for part in names]
    schedules = []
    try:
        for part in parts:
            (method,) = settings.make_methods(part).values()
            schedules.append(settings.make_schedule(part, method))
            settings.make_input_method(part)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"setting {name!r} is refused, leave it out with --only: {error}"
        ) from error
    if len(parts) == 1:
        return parts[0], schedules[0]
    for text, part, schedule in zip(names, parts, schedules, strict=True):
        if schedule is None or part.input_gradient is not None:
            raise ValueError(
                f"setting {name!r} combines {text!r}, where each must be "
                "METHOD@SCHEDULE."
            )
    return parts[0], tfag.Combined(schedules)


def _parse_single(name: str, base: Settings) -> Settings:
    """The settings that METHOD@SCHEDULE or METHOD@SCHEDULE@METHOD stands for."""
    method, at, schedule = name.partition("@")
    schedule, input_at, input_method = schedule.partition("@")
    if not at and name in (*MODELS, "full"):
        model = base.model if name == "full" else name
        return dataclasses.replace(base, model=model, method="full", schedule="none")
    kind, *assignments = SCHEDULES.get(schedule, schedule).split(":")
    if kind not in settings.SCHEDULES or kind == "none" or method == "full":
        raise ValueError(
            f"setting {name!r} must be full, one of the networks {', '.join(MODELS)}, "
            "or METHOD@SCHEDULE, such as max:k=4@all-but-first, with a method other "
            f"than full and one of the schedules {', '.join(SCHEDULES)} or "
            "every_nth_layer:n=2:start=2 and the like; behind that may follow @METHOD, "
            "for the input gradients, or + and another METHOD@SCHEDULE for other "
            "layers."
        )
    changes = {"method": method, "schedule": kind}
    if input_at:
        changes["input_gradient"] = input_method
    for assignment in assignments:
        parameter, _, value = assignment.partition("=")
        if parameter not in _PARAMETERS or not value:
            raise ValueError(
                f"setting {name!r} has {assignment!r} where it must set one of its "
                f"schedule's parameters, which are of {', '.join(_PARAMETERS)}."
            )
        changes[f"schedule_{parameter}"] = value
    for parameter in ("n", "start", "steps"):
        text = changes.get(f"schedule_{parameter}")
        if text is not None:
            if not text.isdecimal():
                raise ValueError(
                    f"setting {name!r}: {parameter} must be an integer, got {text!r}."
                )
            changes[f"schedule_{parameter}"] = int(text)
    return dataclasses.replace(base, **changes)
