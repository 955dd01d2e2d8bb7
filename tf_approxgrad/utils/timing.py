"""Interleaved timing: a slow phase of the machine affects all functions alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def time_in_turns(
    functions: Mapping[Key, Callable[[], object]],
    rounds: int,
    between: Callable[[], object] = lambda: None,
    warm_up: int = 2,
) -> dict[Key, list[float]]:
    """Measures functions in interleaved rounds.

    Each round starts with another function. Calls of each come first, to trace it and
    to fill caches.

    Args:
        functions: The functions by key.
        rounds: Number of measurements of each function.
        between: Called before each measurement.
        warm_up: Number of calls of each function before.

    Returns:
        Seconds of each call by key, one for each round.
    """
    names = list(functions)
    for name in names:
        for _ in range(warm_up):
            functions[name]()
    seconds: dict[Key, list[float]] = {name: [] for name in names}
    for round_number in range(rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            between()
            start = time.perf_counter()
            functions[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds
