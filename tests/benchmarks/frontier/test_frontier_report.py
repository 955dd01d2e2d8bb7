"""The frontier's settings, its table and its picture."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from frontier_rows import MACHINE, make_row

from benchmarks.frontier import picture, report
from benchmarks.frontier.points import Point, Spread, choose_best, summarise
from benchmarks.frontier.runs import AccuracyRow
from benchmarks.frontier.times import TimeRow
from benchmarks.frontier.usual_settings import choose, default_names
from benchmarks.machine import ROOT
from benchmarks.rows import read_csv


def test_usual_settings_of_resnet_are_twenty_and_the_references_come_first():
    names = default_names("resnet20")
    assert len(names) == len(set(names)) == 20
    assert names[:2] == ["full", "resnet14"]
    methods = [
        {x.partition("@")[0] for x in names if x.endswith(end)}
        for end in ("@all-but-first", "@schedule1")
    ]
    assert methods[0] == methods[1] and len(methods[0]) == 9


def test_networks_of_two_convolutions_have_no_setting_twice():
    names = default_names("cnn2")
    assert len(names) == 10
    assert not [name for name in names if name.endswith("schedule1")]


def test_only_keeps_the_settings_that_match_in_their_order():
    names = default_names("resnet20")
    assert choose(names, None) == names
    chosen = choose(names, "^full|max:k=1@")
    assert chosen == ["full", "max:k=1@all-but-first", "max:k=1@schedule1"]


def make_time(setting, faster):
    return TimeRow(
        **dataclasses.asdict(MACHINE),
        model="cnn2",
        batch=40,
        width=0.1,
        setting=setting,
        full_ms=100.0,
        step_ms=100 / faster,
        faster=faster,
        faster_low=faster - 0.1,
        faster_high=faster + 0.1,
        steps=8,
    )


def test_table_has_means_and_deviations_over_seeds():
    generator = np.random.default_rng(0)
    held_out, tested = generator.uniform(0.8, 0.9, (2, 2, 3))
    names = ("full", "zero@schedule1")
    rows = [
        make_row(
            name,
            seed,
            holdout_accuracy=held_out[i, seed],
            test_accuracy=tested[i, seed],
        )
        for i, name in enumerate(names)
        # A seed of full that zero lacks plays no part in what zero loses.
        for seed in range(3 - i)
    ]
    points = summarise(rows, [make_time(names[1], 1.25)], names[::-1])
    zero, full = points
    assert (full.setting, full.seeds, full.faster) == ("full", 3, 1.0)
    assert (zero.setting, zero.seeds, zero.faster) == (names[1], 2, 1.25)
    assert (zero.faster_low, zero.faster_high) == (1.15, 1.35)
    lost = 100 * (tested[0, :2] - tested[1, :2])
    expected = {
        full.holdout: 100 * held_out[0],
        full.test: 100 * tested[0],
        zero.test: 100 * tested[1, :2],
        zero.test_lost: lost,
        zero.holdout_lost: 100 * (held_out[0, :2] - held_out[1, :2]),
    }
    for spread, values in expected.items():
        assert spread.mean == pytest.approx(values.mean())
        assert spread.deviation == pytest.approx(values.std(ddof=1))
    text = report.format_points(points)
    assert f"{lost.mean():.2f} +- {lost.std(ddof=1):.2f}" in text
    assert "1.250x" in text


def test_one_seed_has_a_mean_and_no_deviation():
    (point,) = summarise([make_row(test_accuracy=0.5)], [], [])
    assert point.test.mean == 50 and math.isnan(point.test.deviation)
    assert "50.00%  " in report.format_points([point])


def test_what_is_combined_has_a_line_for_each_in_the_table():
    setting = "max:k=4@constant:layers=2-4+zero@schedule1"
    text = report.format_points(summarise([make_row(setting)], [], []))
    first, second = text.splitlines()[2:]
    assert first.startswith("max:k=4@constant:layers=2-4  ") and "50.00%" in first
    assert second == "  + zero@schedule1"


def make_point(setting, holdout_lost, faster, seeds=3, test_lost=9.0):
    spreads = [Spread(x, 0.1) for x in (85.0, 84.0, holdout_lost, test_lost)]
    return Point(setting, seeds, *spreads, faster, faster - 0.05, faster + 0.05)


FULL = make_point("full", 0.0, 1.0)


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([make_point("a@x", 0.4, 1.2), make_point("b@x", 0.1, 1.1)], "a@x"),
        ([make_point("a@x", 0.6, 1.2), make_point("b@x", 0.1, 1.1)], "b@x"),
        ([make_point("a@x", 0.6, 1.2, test_lost=0.0)], None),
        ([make_point("a@x", 0.1, 1.2, seeds=2)], None),
        ([make_point("a@x", 0.1, 0.9)], None),
        ([make_point("a@x", 0.1, math.nan)], None),
        ([make_point("resnet14", 0.1, 1.5)], None),
    ],
)
def test_choice_looks_at_the_images_held_out_and_at_speed(points, best):
    chosen = choose_best([FULL, *points], seeds=3)
    assert (chosen.setting if chosen else None) == best
    assert (best or "No setting") in report.format_choice(chosen)


def test_picture_shows_the_settings_that_were_timed(tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(
        picture.plt,
        "close",
        lambda figure: labels.append(figure.axes[0].get_legend_handles_labels()[1]),
    )
    points = [
        FULL,
        make_point("resnet14", 1.0, 1.4),
        make_point("zero@schedule1", 1.0, 1.1),
        make_point("max:k=1@all-but-first", 1.0, math.nan),
        make_point("max@constant:layers=2+zero@constant:layers=3", 1.0, 1.2),
    ]
    path = tmp_path / "frontier.png"
    assert picture.draw_frontier(points, "resnet20", path)
    combined = "max@constant:layers=2\n  + zero@constant:layers=3"
    assert labels == [["full", "resnet14", "zero@schedule1", combined]]
    assert tf.io.decode_png(path.read_bytes()).shape[0] > 100


def test_picture_knows_the_schedule_of_a_setting_with_three_parts():
    split = picture._methods_and_schedule
    assert split("max:k=4@schedule1@sampled") == ("max:k=4 sampled", "schedule1")
    assert split("max:k=4@schedule1") == ("max:k=4", "schedule1")
    assert split("full") == ("full", "")


def test_nothing_timed_gives_no_picture(tmp_path):
    path = tmp_path / "frontier.png"
    assert not picture.draw_frontier([make_point("a@x", 1.0, math.nan)], "cnn2", path)
    assert not path.exists()


@pytest.mark.parametrize("model", ["cnn2", "resnet20", "vgg19"])
def test_committed_results_are_read_and_have_a_choice(model):
    folder = ROOT / "benchmarks" / "results"
    rows = read_csv(folder / f"frontier_{model}.csv", AccuracyRow)
    times = read_csv(folder / f"frontier_{model}_times.csv", TimeRow)
    points = summarise(rows, times, default_names(model))
    assert points[0].setting == "full"
    assert choose_best(points, seeds=3) is not None
