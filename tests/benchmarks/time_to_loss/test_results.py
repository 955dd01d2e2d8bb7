"""Time to a loss: from curves over steps, and times of steps."""

import math
from types import SimpleNamespace

import pytest

from benchmarks.time_to_loss.report import format_summaries
from benchmarks.time_to_loss.results import curves, summarise


def run(contender, losses, seed=0, batch=100, overhead=0.0):
    """A run with a point after every 10 steps, tested at the last."""
    return [
        SimpleNamespace(
            contender=contender,
            seed=seed,
            steps=10 * number,
            images=10 * number * batch,
            loss=loss,
            test_accuracy=0.9 if number == len(losses) else math.nan,
            overhead=overhead,
        )
        for number, loss in enumerate(losses, start=1)
    ]


def timed(contender, ratio, seed=-1, decided=0, full_ms=1000.0):
    return SimpleNamespace(
        contender=contender, seed=seed, decided=decided, ratio=ratio, full_ms=full_ms
    )


def test_seconds_are_steps_by_their_times_in_turns():
    (curve,) = curves(run("exact/128", [4, 2, 1]), [timed("exact/128", 0.5)])
    assert curve.seconds == [5, 10, 15]
    assert curve.losses == [4, 3, 1.5]
    assert curve.accuracy == 0.9


def test_noise_of_the_machine_leaves_seconds_alone():
    times = [
        timed("exact/128", 0.5, full_ms=4000),
        timed("exact/64", 0.3, full_ms=1000),
        timed("full/128", 1.0, full_ms=1000),
    ]
    points = run("exact/128", [4]) + run("exact/64", [4])
    found = {curve.contender: curve for curve in curves(points, times)}
    assert found["exact/128"].seconds == pytest.approx([5])
    assert found["exact/64"].seconds == pytest.approx([3])


def test_exact_runs_stand_for_full_ones():
    times = [timed("exact/128", 0.5), timed("full/128", 1.0)]
    found = curves(run("exact/128", [4, 2]), times)
    assert [(x.contender, x.seconds) for x in found] == [
        ("exact/128", [5, 10]),
        ("full/128", [10, 20]),
    ]


def test_decisions_have_their_own_times_and_overhead():
    times = [
        timed("adaptive/128", 0.5, seed=0, decided=2),
        timed("adaptive/128", 0.25, seed=0, decided=15),
        timed("adaptive/128", 9.0, seed=1, decided=2),
    ]
    (curve,) = curves(run("adaptive/128", [4, 2, 1], overhead=3.0), times)
    assert curve.seconds == pytest.approx([8, 3 + 7.5 + 1.25, 3 + 7.5 + 3.75])


def test_loss_is_reached_between_points_by_its_logarithm():
    (curve,) = curves(run("exact/128", [8, 8, 2, 2]), [timed("exact/128", 1.0)])
    assert curve.losses == [8, 8, 5, 2]
    assert curve.at_loss(5, curve.seconds) == 30
    assert curve.at_loss(math.sqrt(8 * 5), curve.seconds) == pytest.approx(25)
    assert curve.at_loss(9, curve.seconds) == 10
    assert math.isnan(curve.at_loss(1, curve.seconds))


def test_gain_is_over_the_best_full_batch():
    times = [
        timed("full/128", 1.0),
        timed("exact/128", 0.8),
        timed("full/64", 0.6),
        timed("exact/64", 0.5),
        timed("max/128", 0.7),
    ]
    points = [
        *run("exact/128", [4, 2, 2], seed=0),
        *run("exact/128", [4, 2, 2], seed=1),
        *run("exact/64", [8, 4, 2, 2], batch=50),
        *run("max/128", [8, 8, 8]),
    ]
    rows = {row.contender: row for row in summarise(curves(points, times))}
    # The target is 2: after 30 steps of 1 s, and after 40 of 0.6 s.
    assert rows["full/128"].to_loss[0] == pytest.approx(30)
    assert rows["full/64"].to_loss[0] == pytest.approx(24)
    assert rows["full/64"].gain == pytest.approx(1)
    assert rows["exact/64"].gain == pytest.approx(0.6 / 0.5)
    assert rows["exact/128"].gain == pytest.approx(24 / 24)
    assert math.isnan(rows["max/128"].gain)
    # Half of the images after as many steps.
    assert rows["full/64"].loss_of_steps[0] == 3
    assert rows["exact/128"].seeds == 2 and rows["exact/128"].loss[1] == 0
    text = format_summaries(list(rows.values()))
    assert "1.20x" in text and text.splitlines()[-1].endswith("-")


def test_nothing_is_said_without_the_target():
    assert summarise([]) == []
    assert curves(run("exact/128", [1]), []) == []
