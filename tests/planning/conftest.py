"""What the tests of plans share: few repetitions, and times that are made up."""

from collections.abc import Callable, Hashable, Mapping, Sequence

import pytest

import tf_approxgrad as tfag
from tf_approxgrad.gradients.observer import RecordedCall
from tf_approxgrad.planning import plan_maker, timings
from tf_approxgrad.planning.timings import LayerTimes

# Milliseconds of a filter gradient by a method.
TimeOf = Callable[[tfag.GradientMethod], float]
Pretend = Callable[[TimeOf, Mapping[str, float]], None]


@pytest.fixture(autouse=True)
def few_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on a speed."""
    monkeypatch.setattr(plan_maker, "_ROUNDS", 1)
    monkeypatch.setattr(plan_maker, "_MOST_ROUNDS", 1)
    monkeypatch.setattr(timings, "_REPEATS", 1)
    monkeypatch.setattr(timings, "_CACHED_BYTES", 4)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Lets times be those of a function, and of a dict of whole steps in seconds."""

    def pretend(layer_ms: TimeOf, seconds: Mapping[str, float]) -> None:
        def time_layer(
            filter_calls: Sequence[RecordedCall],
            input_calls: Sequence[RecordedCall],
            exact: Sequence[tfag.GradientMethod],
            candidates: Sequence[tfag.GradientMethod],
            jit_compile: bool,
        ) -> LayerTimes:
            times = {method: layer_ms(method) for method in (*exact, *candidates)}
            return LayerTimes(times, {})

        def time_in_turns(
            functions: Mapping[Hashable, Callable[[], object]],
            rounds: int,
            **others: object,
        ) -> dict[Hashable, list[float]]:
            return {name: [seconds[str(name)]] * rounds for name in functions}

        monkeypatch.setattr(plan_maker, "time_layer", time_layer)
        monkeypatch.setattr(plan_maker, "time_in_turns", time_in_turns)

    return pretend
