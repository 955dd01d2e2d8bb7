"""The settings of a sweep, the most telling first."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
