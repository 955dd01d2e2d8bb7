"""Times of interleaved steps, compared pair by pair."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any


class PairedTimes:
    """Collects the step times of several methods that take turns on each batch.

    Times are added up over windows of one period of the schedule, so that every window
    has as many approximated steps as full ones as the schedule says. Two methods'
    windows stand side by side in time: what slows the machine slows both, and their
    ratio stays.

    Args:
      methods: The methods' names.
      window: Steps in a window, the schedule's period.
      warm_up: Steps to leave out after every start of the program: the first ones
        trace graphs and choose algorithms.
    """

    def __init__(self, methods: Sequence[str], window: int, warm_up: int) -> None:
        self._window = window
        self._warm_up = warm_up
        self._steps_seen = 0
        self._sums = dict.fromkeys(methods, 0.0)
        self._windows: dict[str, list[float]] = {method: [] for method in methods}

    @property
    def window(self) -> int:
        return self._window

    @property
    def count(self) -> int:
        """The number of whole windows."""
        return min(map(len, self._windows.values()))

    def order(self) -> list[str]:
        """The order of the methods at the next step.

        It rotates from window to window, so that each method takes each place equally
        often. A whole window keeps its order: otherwise the places would coincide with
        the schedule. Every second turn runs backwards, for other neighbours.
        """
        methods = list(self._windows)
        turn, place = divmod(self._steps_seen // self._window, len(methods))
        order = methods[place:] + methods[:place]
        return order[::-1] if turn % 2 else order

    def add(self, seconds: dict[str, float]) -> None:
        """Adds one step: the seconds that it took with each method."""
        position = self._steps_seen - self._warm_up
        self._steps_seen += 1
        if position < 0:
            return
        for method, duration in seconds.items():
            self._sums[method] += duration
        if position % self._window == self._window - 1:
            for method, total in self._sums.items():
                self._windows[method].append(total / self._window)
                self._sums[method] = 0.0

    def step_ms(self, method: str) -> float:
        """The median time of a step in milliseconds, NaN without whole windows."""
        if not self.count:
            return math.nan
        return 1e3 * statistics.median(self._windows[method])

    def speed_up(self, method: str, baseline: str) -> float:
        """The share of the baseline's time that a method saves, in percent.

        100 (1 - t / t_baseline), the median over windows: 50 means half the time and
        -100 twice the time, as the paper counts. NaN without whole windows.
        """
        if not self.count:
            return math.nan
        pairs = zip(self._windows[method], self._windows[baseline], strict=True)
        return 100 * (1 - statistics.median(time / base for time, base in pairs))

    def ratios(self, method: str, baseline: str) -> list[float]:
        """How many times as fast as the baseline a method was, for each window."""
        pairs = zip(self._windows[method], self._windows[baseline], strict=True)
        return [base / time for time, base in pairs]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return dict(self._windows)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned; times go on in new windows."""
        self._windows = {method: list(state[method]) for method in self._windows}
