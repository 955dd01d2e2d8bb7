"""Functions timed in turns, so that what slows the machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def time_in_turns(
    functions: dict[Key, Callable[[], object]], rounds: int
) -> dict[Key, list[float]]:
    """Seconds of each function in each round; every round starts with another one.

    Each is called twice before, to trace and to fill caches.
    """
    names = list(functions)
    for name in names:
        functions[name]()
        functions[name]()
    seconds: dict[Key, list[float]] = {name: [] for name in names}
    for round_number in range(rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            functions[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds
