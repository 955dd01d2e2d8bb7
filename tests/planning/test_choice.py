"""The choice of a method for each layer, against all combinations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tf_approxgrad as tfag
from tf_approxgrad.planning.choice import (
    LEAST_GAIN,
    Candidate,
    Choice,
    best_choice,
    efficient_choices,
)

# The grid's step: a layer's tau may count as up to one step more than it is.
STEP = 0.5 / 10_000
# Where rounding of binary fractions ends.
ROUNDING = 1e-12
EXACT = tfag.ExactGradient()
METHODS = [tfag.RowSampledGradient(share) for share in (0.75, 0.5, 0.25, 0.125)]
Layers = list[list[Candidate]]


def layer(*pairs: tuple[float, float]) -> list[Candidate]:
    """Candidates of these times and taus, the first one exact."""
    methods = [EXACT, *METHODS]
    return [
        Candidate(method, float(ms), tau)
        for method, (ms, tau) in zip(methods, pairs, strict=False)
    ]


times = st.integers(1, 30)
# Small taus, of which many count as one step, and such that fill the grid.
taus = st.one_of(
    st.integers(0, 6).map(lambda n: n * 0.01),
    st.floats(0, 3 * STEP),
    st.floats(0, 0.6),
    st.just(math.inf),
)
layers_of_candidates = st.lists(
    st.tuples(times, st.lists(st.tuples(times, taus), max_size=3)).map(
        lambda found: layer((found[0], 0.0), *found[1])
    ),
    min_size=1,
    max_size=4,
)


def every_choice(layers: Layers) -> list[tuple[float, float]]:
    """Time and tau of all combinations."""
    return [
        (sum(x.ms for x in chosen), sum(x.tau for x in chosen))
        for chosen in itertools.product(*layers)
    ]


@given(layers_of_candidates, st.integers(0, 50))
def test_choices_are_the_fastest_of_all_combinations_for_every_bound(
    layers: Layers, other_ms: int
) -> None:
    choices = efficient_choices(other_ms, layers)
    combinations = every_choice(layers)
    slack = len(layers) * STEP + ROUNDING
    for bound in {0.0, *(tau + slack for _, tau in combinations if tau <= 0.49)}:
        found = min(x.step_ms for x in choices if x.tau <= bound)
        # Each of them is a combination, so that none is faster than the fastest.
        fastest = min(ms for ms, tau in combinations if tau <= bound)
        assert found >= other_ms + fastest - ROUNDING
        strictest = min(ms for ms, tau in combinations if tau <= max(bound - slack, 0))
        assert found <= other_ms + strictest + ROUNDING


@given(layers_of_candidates)
def test_taus_on_the_grid_are_chosen_from_as_by_brute_force(layers: Layers) -> None:
    layers = [
        [
            Candidate(
                x.method,
                x.ms,
                # In the middle of a step, so that no rounding matters.
                x.tau and (math.floor(min(x.tau, 0.1) / STEP) + 0.5) * STEP,
            )
            for x in candidates
        ]
        for candidates in layers
    ]
    cells = [
        (
            sum(math.ceil(x.tau / STEP) for x in chosen),
            sum(x.ms for x in chosen),
        )
        for chosen in itertools.product(*layers)
    ]
    expected = []
    for count in sorted({count for count, _ in cells}):
        ms = min(time for cells_used, time in cells if cells_used <= count)
        if not expected or ms < expected[-1]:
            expected.append(ms)
    assert [x.step_ms for x in efficient_choices(0, layers)] == expected


@given(layers_of_candidates, st.integers(0, 50))
def test_choices_are_sums_of_one_candidate_of_each_layer(
    layers: Layers, other_ms: int
) -> None:
    for choice in efficient_choices(other_ms, layers):
        assert len(choice.candidates) == len(layers)
        for candidate, candidates in zip(choice.candidates, layers, strict=True):
            assert any(candidate is one for one in candidates)
        ms = sum(candidate.ms for candidate in choice.candidates)
        tau = sum(candidate.tau for candidate in choice.candidates)
        assert choice.step_ms == pytest.approx(other_ms + ms)
        assert choice.tau == pytest.approx(tau)
        assert choice.tau <= 0.5 + ROUNDING
        assert choice.cost == choice.step_ms * (1 + choice.tau)


@given(layers_of_candidates)
@example(
    # Three steps of the grid with 2.99 of tau, and four with 2.02.
    [
        layer((9, 0.0), (4, 2.99 * STEP)),
        layer((9, 0.0), (5, 1.01 * STEP)),
        layer((9, 0.0), (5, 1.01 * STEP)),
    ]
)
def test_tau_rises_and_time_falls(layers: Layers) -> None:
    choices = efficient_choices(5, layers)
    for first, second in itertools.pairwise(choices):
        assert second.step_ms < first.step_ms
        assert second.tau > first.tau


@given(layers_of_candidates)
def test_first_choice_has_no_extra_variance(layers: Layers) -> None:
    first = efficient_choices(5, layers)[0]
    assert first.tau == 0
    fastest = sum(min(x.ms for x in candidates if x.tau == 0) for candidates in layers)
    assert first.step_ms == 5 + fastest


@given(layers_of_candidates, st.sampled_from([0.0, 0.02, 0.05, 0.3, 10.0]))
def test_best_choice_keeps_the_bound_and_costs_least(
    layers: Layers, bound: float
) -> None:
    choices = efficient_choices(5, layers)
    best = best_choice(choices[0], choices, bound)
    assert best.tau <= bound
    if best is choices[0]:
        # Another would have to gain 3%.
        bar = best.cost / LEAST_GAIN
    else:
        bar = best.cost
        assert bar * LEAST_GAIN <= choices[0].cost
    slack = len(layers) * STEP + ROUNDING
    for ms, tau in every_choice(layers):
        if tau <= min(bound, 0.5) - slack or tau == 0:
            assert bar <= (5 + ms) * (1 + tau + slack) * (1 + ROUNDING)


@pytest.mark.parametrize("tau", [math.inf, math.nan, 0.51, 1e300])
def test_candidate_of_infinite_or_large_tau_is_never_chosen(tau: float) -> None:
    layers = [layer((10, 0.0), (1, tau)), layer((10, 0.0), (8, 0.01))]
    choices = efficient_choices(0, layers)
    assert [choice.candidates[0].method for choice in choices] == [EXACT, EXACT]
    assert best_choice(choices[0], choices, math.inf).tau == 0.01


def test_taus_that_exceed_the_grid_together_are_not_chosen_together() -> None:
    layers = [layer((10, 0.0), (1, 0.3)), layer((10, 0.0), (1, 0.3))]
    assert max(choice.tau for choice in efficient_choices(0, layers)) == 0.3


def test_slower_candidate_is_not_chosen() -> None:
    layers = [layer((10, 0.0), (10, 0.01), (11, 0.02), (9, 0.03))]
    choices = efficient_choices(0, layers)
    assert [choice.candidates[0].method for choice in choices] == [EXACT, METHODS[2]]


def test_a_bound_between_the_costs_decides() -> None:
    choices = [
        Choice(10.0, 0.0, ()),
        # Too little to depart from exact gradients.
        Choice(9.7, 0.01, ()),
        Choice(9.0, 0.02, ()),
        Choice(8.0, 0.04, ()),
        # Faster, and not worth it.
        Choice(7.9, 0.08, ()),
    ]
    bounds = (0.0, 0.01, 0.02, 0.03, 0.04, 1.0)
    found = [best_choice(choices[0], choices, bound).step_ms for bound in bounds]
    assert found == [10, 10, 9, 9, 8, 8]


def test_many_layers_are_chosen_for_as_the_continuous_optimum_would() -> None:
    rng = np.random.default_rng(0)
    layers = []
    for _ in range(60):
        ms, variance = rng.uniform(1, 30), rng.uniform(1e-5, 3e-3)
        shares = (0.75, 0.5, 0.25, 0.125)
        pairs = [(ms * share, variance * (1 / share - 1)) for share in shares]
        layers.append(layer((ms, 0.0), *pairs))
    choices = efficient_choices(100, layers)
    best = best_choice(choices[0], choices, 0.05)
    assert 0.045 < best.tau <= 0.05
    # No single change of a layer costs less within the bound.
    for place, candidates in enumerate(layers):
        for other in candidates:
            tau = best.tau + other.tau - best.candidates[place].tau
            ms = best.step_ms + other.ms - best.candidates[place].ms
            if tau <= 0.05 - 60 * STEP:
                assert best.cost <= ms * (1 + tau + 60 * STEP)
