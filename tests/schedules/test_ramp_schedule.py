"""Ramp: the share of the steps at which it follows its schedule."""

import pytest

import tf_approxgrad as tfag

FULL, MAX = tfag.FullGradient(), tfag.MaxGradient()
ALTERNATE = tfag.Alternate("max")


def methods_at(schedule, steps, layer=2):
    return [schedule(layer, step) for step in steps]


@pytest.mark.parametrize("shares", [(0.0, 1.0), (1.0, 0.25), (0.5, 0.5)])
@pytest.mark.parametrize("inner", ["max", ALTERNATE], ids=["every step", "alternate"])
def test_ramp_has_the_share_of_a_straight_line(inner, shares):
    begin, end = 1000, 9000
    schedule = tfag.Ramp(inner, begin, end, *shares)
    inner_share = 1.0 if inner == "max" else 0.5
    cells = [method != FULL for method in methods_at(schedule, range(10_000))]
    for first in range(0, 10_000, 500):
        middle = min(max(first + 250, begin), end)
        share = shares[0] + (shares[1] - shares[0]) * (middle - begin) / (end - begin)
        found = sum(cells[first : first + 500]) / 500
        assert found == pytest.approx(share * inner_share, abs=0.07)


def test_ramp_keeps_the_periods_of_its_schedule_whole():
    inner = tfag.TableSchedule([["full", "max", "zero"]])
    schedule = tfag.Ramp(inner, begin=0, end=900)
    periods = {
        tuple(methods_at(schedule, range(step, step + 3), layer=1))
        for step in range(0, 1200, 3)
    }
    # The others lie across a stair.
    whole = {(FULL, MAX, tfag.ZeroGradient()), (FULL, FULL, FULL)}
    assert whole <= periods
    broken = [
        step
        for step in range(0, 1200, 3)
        if tuple(methods_at(schedule, range(step, step + 3), layer=1)) not in whole
    ]
    assert len(broken) <= 16


def test_ramp_of_shares_without_a_change_is_a_fixed_pattern():
    schedule = tfag.Ramp("max", 0, 1, 0.25, 0.25, resolution=4)
    assert methods_at(schedule, range(8)) == [FULL, FULL, FULL, MAX] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfag.Ramp("max", -1, 4), "begin must be .* >= 0, got -1"),
        (lambda: tfag.Ramp("max", 4, 4), "end must be more than begin=4"),
        (lambda: tfag.Ramp("max", 0, 4, 1.1), "initial_share .* got 1.1"),
        (lambda: tfag.Ramp("max", 0, 4, 0, -1), "final_share .* got -1"),
        (lambda: tfag.Ramp("max", 0, 4, resolution=0), "resolution must be .* got 0"),
    ],
)
def test_wrong_argument_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
