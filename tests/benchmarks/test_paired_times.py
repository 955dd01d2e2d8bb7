"""Step times of methods that take turns."""

import math

import pytest

from benchmarks.paired_times import PairedTimes, geometric_mean


def filled(steps=40, window=2, warm_up=4, drift=0.0):
    """Times where b takes half of a's, on a machine that gets slower."""
    times = PairedTimes(["a", "b"], window, warm_up)
    for step in range(steps):
        slowness = 1 + drift * step
        times.add({"a": 0.2 * slowness, "b": 0.1 * slowness})
    return times


def test_each_method_takes_each_place_equally_often_and_windows_keep_their_order():
    times = PairedTimes(["a", "b", "c"], 2, 0)
    orders = []
    for _ in range(24):
        orders.append(times.order())
        times.add(dict.fromkeys("abc", 1.0))
    for place in range(3):
        names = [order[place] for order in orders]
        assert [names.count(name) for name in "abc"] == [8, 8, 8]
    assert orders[::2] == orders[1::2]


def test_functions_are_called_in_order_and_timed():
    times = PairedTimes(["a", "b"], 1, 0)
    called = []
    for _ in range(2):
        results = times.run(
            {name: lambda n=name: called.append(n) or n for name in "ab"}
        )
        assert results == {"a": "a", "b": "b"}
    assert called == ["a", "b", "b", "a"]
    assert times.step_ms("a") > 0


def test_drift_of_the_machine_leaves_the_ratio():
    times = filled(drift=0.1)
    assert times.times_as_fast("b", "a") == pytest.approx(2)
    assert times.times_as_fast("a", "b") == pytest.approx(0.5)


def test_warm_up_and_the_outlier_of_one_window_do_not_count():
    times = PairedTimes(["a", "b"], 1, 2)
    for seconds in (9.0, 9.0, 0.2, 0.2, 50.0, 0.2, 0.2):
        times.add({"a": seconds, "b": 0.1})
    assert len(times.ratios("a", "b")) == 5
    assert times.step_ms("a") == pytest.approx(200)
    assert times.times_as_fast("b", "a") == pytest.approx(2)


def test_ratios_are_those_of_neighbouring_windows_of_a_whole_period():
    times = PairedTimes(["a", "b"], window=2, warm_up=0)
    for a, b in [(1.0, 4.0), (3.0, 4.0), (2.0, 5.0), (2.0, 5.0)]:
        times.add({"a": a, "b": b})
    assert times.step_ms("a") == pytest.approx(2000)
    assert times.ratios("a", "b") == [2.0, 2.5]


def test_nothing_measured_is_no_number():
    times = PairedTimes(["a", "b"], 2, 4)
    times.add({"a": 1.0, "b": 1.0})
    assert math.isnan(times.step_ms("a"))
    assert math.isnan(times.times_as_fast("a", "b"))


def test_restored_times_go_on():
    before = filled()
    after = PairedTimes(["a", "b"], 2, 0)
    after.restore(before.state())
    for _ in range(2):
        after.add({"a": 1.0, "b": 1.0})
    assert len(after.ratios("a", "b")) == 19
    assert len(before.ratios("a", "b")) == 18


def test_geometric_mean_leaves_out_what_was_not_measured():
    assert geometric_mean([2.0, 8.0, math.nan]) == pytest.approx(4.0)
    assert math.isnan(geometric_mean([]))
