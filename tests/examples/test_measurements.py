"""Step times of methods that take turns, and the rows and tables made of them."""

import csv
import math

import pytest
from results import EpochRow, SummaryRow, format_table, read_csv, write_csv
from step_times import PairedTimes


def filled(steps=40, window=2, warm_up=4, drift=0.0):
    """Times where b takes half of a's, on a machine that gets slower."""
    times = PairedTimes(["a", "b"], window, warm_up)
    for step in range(steps):
        slowness = 1 + drift * step
        times.add({"a": 0.2 * slowness, "b": 0.1 * slowness})
    return times


def test_each_method_takes_each_place_equally_often():
    times = PairedTimes(["a", "b", "c"], 2, 0)
    places = {method: [0, 0, 0] for method in "abc"}
    for _ in range(24):
        for place, method in enumerate(times.order()):
            places[method][place] += 1
        times.add(dict.fromkeys("abc", 1.0))
    assert places == {method: [8, 8, 8] for method in "abc"}


def test_order_stays_within_a_window():
    times = PairedTimes(["a", "b"], 3, 0)
    orders = []
    for _ in range(12):
        orders.append(tuple(times.order()))
        times.add({"a": 1.0, "b": 1.0})
    assert all(len(set(orders[i : i + 3])) == 1 for i in range(0, 12, 3))


def test_drift_of_the_machine_leaves_the_ratio():
    times = filled(drift=0.1)
    assert times.speed_up("b", "a") == pytest.approx(50)
    assert times.speed_up("a", "b") == pytest.approx(-100)


def test_warm_up_and_the_outlier_of_one_window_do_not_count():
    times = PairedTimes(["a", "b"], 1, 2)
    for seconds in (9.0, 9.0, 0.2, 0.2, 50.0, 0.2, 0.2):
        times.add({"a": seconds, "b": 0.1})
    assert times.count == 5
    assert times.step_ms("a") == pytest.approx(200)
    assert times.speed_up("b", "a") == pytest.approx(50)


def test_window_holds_a_whole_period():
    times = PairedTimes(["a"], 2, 0)
    for step in range(10):
        times.add({"a": 0.1 if step % 2 else 0.3})
    assert times.step_ms("a") == pytest.approx(200)


def test_nothing_measured_is_no_number():
    times = PairedTimes(["a", "b"], 2, 4)
    times.add({"a": 1.0, "b": 1.0})
    assert math.isnan(times.step_ms("a"))
    assert math.isnan(times.speed_up("a", "b"))


def test_ratios_are_those_of_neighbouring_windows():
    times = PairedTimes(["a", "b"], window=2, warm_up=0)
    for a, b in [(1.0, 4.0), (3.0, 4.0), (2.0, 5.0), (2.0, 5.0)]:
        times.add({"a": a, "b": b})
    assert times.ratios("a", "b") == [2.0, 2.5]
    assert times.ratios("b", "a") == [0.5, 0.4]


def test_restored_times_go_on():
    before = filled()
    after = PairedTimes(["a", "b"], 2, 0)
    after.restore(before.state())
    assert after.count == before.count == 18
    after.add({"a": 1.0, "b": 1.0})
    after.add({"a": 1.0, "b": 1.0})
    assert after.count == 19
    assert before.count == 18


ROWS = [
    SummaryRow("full", 0.901, 0.9, 0.0, 100.0, 0.0),
    SummaryRow("max", 0.8912, 0.89, 0.98, 80.5, 19.46),
    SummaryRow("zero", 0.88, 0.88, 2.1, math.nan, math.nan),
]


def test_table_shows_what_was_lost_and_gained():
    lines = format_table(ROWS).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["full", "90.10%", "-", "100.0", "ms", "-"]
    assert lines[3].split() == [
        *("max", "89.12%", "0.98", "points", "80.5", "ms", "19.5%"),
    ]
    assert lines[4].split() == ["zero", "88.00%", "2.10", "points", "not", "timed", "-"]


def test_csv_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("an older file")
    write_csv(path, ROWS, SummaryRow)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["full", "max", "zero"]
    assert float(rows[1]["speed_up"]) == 19.46
    assert [p.name for p in tmp_path.iterdir()] == ["summary.csv"]


def test_csv_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "history.csv"
    rows = [EpochRow("max:k=4, twice", 2, 1e-3, 1 / 3, 0.5, math.inf, 0.25)]
    write_csv(path, rows, EpochRow)
    assert read_csv(path, EpochRow) == rows


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("method", "name", "must have the columns method, epoch, .* has name, epoch"),
        ("0.25", "high", "is damaged: line 2 can't be read .*'high'"),
        (",0.25", "", "is damaged: line 2"),
    ],
)
def test_damaged_csv_file_is_refused(before, after, words, tmp_path):
    path = tmp_path / "history.csv"
    write_csv(path, [EpochRow("max", 2, 1e-3, 1.0, 0.5, 2.0, 0.25)], EpochRow)
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ValueError, match=words):
        read_csv(path, EpochRow)


def test_empty_csv_file_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    path.touch()
    with pytest.raises(ValueError, match="has none"):
        read_csv(path, EpochRow)


def test_epoch_row_takes_keras_logs():
    logs = {"loss": 1, "accuracy": 0.5, "val_loss": 2, "val_accuracy": 0.25, "more": 3}
    row = EpochRow.from_logs("max", 2, 1e-3, logs)
    assert row == EpochRow("max", 2, 1e-3, 1.0, 0.5, 2.0, 0.25)
