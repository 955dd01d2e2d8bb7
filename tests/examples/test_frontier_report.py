"""The frontier's settings, its table and its picture."""

import dataclasses
import math

import figures
import frontier_report as report
import frontier_settings
import numpy as np
import pytest
import tensorflow as tf
from frontier_report import Point, Spread
from frontier_times import TimeRow
from test_frontier import BASE, MACHINE, make_row

import tf_approxgrad as tfag

RESNET = dataclasses.replace(BASE, model="resnet20")


def method_and_schedule(name):
    chosen, schedule = frontier_settings.parse(name, RESNET)
    return chosen.model, schedule


@pytest.mark.parametrize(
    ("name", "model", "schedule"),
    [
        ("full", "resnet20", None),
        ("resnet14", "resnet14", None),
        (
            "max:k=4@schedule1",
            "resnet20",
            tfag.EveryNthLayer(tfag.MaxGradient(k=4), n=4, start=2),
        ),
        ("zero@schedule2", "resnet20", tfag.Alternate("zero")),
        ("zero@schedule3", "resnet20", tfag.EveryNthStep("zero")),
        (
            "max@every_nth_step:n=2:start=1",
            "resnet20",
            tfag.EveryNthStep("max", n=2, start=1),
        ),
        ("max@constant:layers=2", "resnet20", tfag.Constant("max", layers=[2])),
        (
            "max:scale=1e+2@constant:layers=2-4,7+zero@schedule1",
            "resnet20",
            tfag.Combined(
                [
                    tfag.Constant(tfag.MaxGradient(scale=100.0), layers=[2, 3, 4, 7]),
                    tfag.EveryNthLayer("zero"),
                ]
            ),
        ),
    ],
)
def test_setting_says_network_method_and_schedule(name, model, schedule):
    assert method_and_schedule(name) == (model, schedule)


def test_third_part_of_a_setting_is_the_method_of_the_input_gradients():
    parsed, schedule = frontier_settings.parse("max@schedule1@sampled:k=4", RESNET)
    plain, expected = frontier_settings.parse("max@schedule1", RESNET)
    assert parsed == dataclasses.replace(plain, input_gradient="sampled:k=4")
    assert schedule == expected


def test_all_but_first_approximates_every_layer_from_the_second_at_every_step():
    _, schedule = method_and_schedule("zero@all-but-first")
    network = tfag.models.resnet(20, (28, 28, 1), width=0.05)
    count = len(tfag.conversion_report(network).rows)
    for step in range(3):
        labels = [schedule(layer, step).label for layer in range(1, count + 1)]
        assert labels == ["full"] + ["zero"] * (count - 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet15", ("'resnet15'", "resnet14", "METHOD@SCHEDULE")),
        ("max", ("'max'", "METHOD@SCHEDULE")),
        ("max@schedule4", ("'max@schedule4'", "schedule1, schedule2")),
        ("max@none", ("'max@none'", "METHOD@SCHEDULE")),
        ("full@schedule1", ("a method other than full",)),
        ("unheard-of:k=4@schedule1", ("'unheard-of:k=4'", "zero", "--only")),
        ("max:n=4@schedule1", ("'n=4'", "k, scale")),
        ("max:k=0@schedule1", ("k must be", "0")),
        ("max@schedule1:n=3", ("schedule1:n=3",)),
        ("max@every_nth_layer:m=3", ("'m=3'", "n, start")),
        ("max@every_nth_layer:n=three", ("n must be an integer", "'three'")),
        ("max@every_nth_layer:steps=3", ("schedule_steps=3",)),
        ("max@schedule1@", ("input_gradient=''", "--only")),
        ("max@schedule1@rows:k=4", ("input_gradient='rows:k=4'", "row-sampled")),
        ("max@schedule1+full", ("max@schedule1+full", "combines 'full'")),
        ("max@schedule1@sampled+zero@schedule2", ("combines 'max@schedule1@sampled'",)),
        ("max@schedule1+zeros@schedule2", ("method='zeros'", "max@schedule1+zeros@")),
        ("max@constant:layers=4-2", ("schedule_layers='4-2'", "range '4-2'")),
    ],
)
def test_bad_setting_is_refused(name, words):
    with pytest.raises(ValueError) as caught:
        frontier_settings.parse(name, RESNET)
    for word in words:
        assert word in str(caught.value)


def test_usual_settings_of_resnet_are_twenty_and_the_references_come_first():
    names = frontier_settings.default_names("resnet20")
    assert len(names) == len(set(names)) == 20
    assert names[:2] == ["full", "resnet14"]
    methods = [
        {x.partition("@")[0] for x in names if x.endswith(end)}
        for end in ("@all-but-first", "@schedule1")
    ]
    assert methods[0] == methods[1] and len(methods[0]) == 9


def test_networks_of_two_convolutions_have_no_setting_twice():
    names = frontier_settings.default_names("cnn2")
    assert len(names) == 10
    assert not [name for name in names if name.endswith("schedule1")]


def test_only_keeps_the_settings_that_match_in_their_order():
    names = frontier_settings.default_names("resnet20")
    assert frontier_settings.choose(names, None) == names
    chosen = frontier_settings.choose(names, "^full|max:k=1@")
    assert chosen == ["full", "max:k=1@all-but-first", "max:k=1@schedule1"]


@pytest.mark.parametrize(("pattern", "word"), [("(", "regular"), ("x^", "none of")])
def test_only_that_chooses_nothing_is_refused(pattern, word):
    with pytest.raises(ValueError, match=word):
        frontier_settings.choose(["full"], pattern)


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
    points = report.summarise(rows, [make_time(names[1], 1.25)], names[::-1])
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
    (point,) = report.summarise([make_row(test_accuracy=0.5)], [], [])
    assert point.test.mean == 50 and math.isnan(point.test.deviation)
    assert "50.00%  " in report.format_points([point])


def test_what_is_combined_has_a_line_for_each_in_the_table():
    setting = "max:k=4@constant:layers=2-4+zero@schedule1"
    text = report.format_points(report.summarise([make_row(setting)], [], []))
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
    chosen = report.choose_best([FULL, *points], seeds=3)
    assert (chosen.setting if chosen else None) == best
    assert (best or "No setting") in report.format_choice(chosen)


def test_picture_shows_the_settings_that_were_timed(tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(
        figures.plt,
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
    assert figures.draw_frontier(points, "resnet20", path)
    combined = "max@constant:layers=2\n  + zero@constant:layers=3"
    assert labels == [["full", "resnet14", "zero@schedule1", combined]]
    assert tf.io.decode_png(path.read_bytes()).shape[0] > 100


def test_picture_knows_the_schedule_of_a_setting_with_three_parts():
    split = figures._methods_and_schedule
    assert split("max:k=4@schedule1@sampled") == ("max:k=4 sampled", "schedule1")
    assert split("max:k=4@schedule1") == ("max:k=4", "schedule1")
    assert split("full") == ("full", "")


def test_nothing_timed_gives_no_picture(tmp_path):
    path = tmp_path / "frontier.png"
    assert not figures.draw_frontier([make_point("a@x", 1.0, math.nan)], "cnn2", path)
    assert not path.exists()
