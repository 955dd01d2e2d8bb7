"""Times of calls that take turns, compared pair by pair."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


class PairedTimes:
    """Collects the step times of several methods that take turns at each step.

    Times are added up over windows of one period of the schedule, so that every window
    has as many approximated steps as exact ones as the schedule says. Two methods'
    windows stand side by side in time: what slows the machine slows both, and their
    ratio stays.

    Args:
        names: The methods' names.
        window: Steps in a window, the schedule's period.
        warm_up: Steps to leave out after every start of the program: the first ones
          trace graphs and choose algorithms.
    """

    def __init__(self, names: Sequence[str], window: int, warm_up: int) -> None:
        self._window = window
        self._warm_up = warm_up
        self._steps_seen = 0
        self._sums = dict.fromkeys(names, 0.0)
        self._windows: dict[str, list[float]] = {name: [] for name in names}

    def order(self) -> list[str]:
        """The order of the methods at the next step.

        It rotates from window to window, so that each method takes each place equally
        often. A whole window keeps its order: otherwise the places would coincide with
        the schedule. Every second turn runs backwards, for other neighbours.
        """
        names = list(self._windows)
        turn, place = divmod(self._steps_seen // self._window, len(names))
        order = names[place:] + names[:place]
        return order[::-1] if turn % 2 else order

    def run(self, functions: dict[str, Callable[[], Result]]) -> dict[str, Result]:
        """Calls and times each method's function once, in this step's order.

        Returns:
            What they returned. They must have waited for their results.
        """
        seconds, results = {}, {}
        for name in self.order():
            start = time.perf_counter()
            results[name] = functions[name]()
            seconds[name] = time.perf_counter() - start
        self.add(seconds)
        return results

    def add(self, seconds: dict[str, float]) -> None:
        """Adds one step: the seconds that it took with each method."""
        position = self._steps_seen - self._warm_up
        self._steps_seen += 1
        if position < 0:
            return
        for name, duration in seconds.items():
            self._sums[name] += duration
        if position % self._window == self._window - 1:
            for name, total in self._sums.items():
                self._windows[name].append(total / self._window)
                self._sums[name] = 0.0

    def step_ms(self, name: str) -> float:
        """The median time of a step in milliseconds, NaN without whole windows."""
        windows = self._windows[name]
        return 1e3 * statistics.median(windows) if windows else math.nan

    def ratios(self, name: str, baseline: str) -> list[float]:
        """How many times as fast as the baseline a method was, for each window."""
        pairs = zip(self._windows[name], self._windows[baseline], strict=True)
        return [base / time for time, base in pairs]

    def times_as_fast(self, name: str, baseline: str) -> float:
        """The median of `ratios`, NaN without whole windows."""
        ratios = self.ratios(name, baseline)
        return statistics.median(ratios) if ratios else math.nan

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return dict(self._windows)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned; times go on in new windows."""
        self._windows = {name: list(state[name]) for name in self._windows}


def geometric_mean(ratios: Iterable[float]) -> float:
    """The geometric mean of the ratios that are numbers, NaN of none."""
    logarithms = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
    return math.exp(statistics.fmean(logarithms)) if logarithms else math.nan


def format_mean(ratios: Sequence[float]) -> str:
    """The geometric mean of speed-ups and the worst, in words."""
    return f"geometric mean {geometric_mean(ratios):.2f}x, worst {min(ratios):.2f}x"
