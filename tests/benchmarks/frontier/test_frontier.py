"""The frontier's runs: made once, resumed, and kept whole, whoever makes them."""

import dataclasses
import math
import subprocess
import sys
import threading
import time

import pytest
from frontier_rows import MACHINE, RECIPE, make_row

from benchmarks.frontier import runs, sweep, times
from benchmarks.frontier.runs import AccuracyRow, Store, lock
from benchmarks.frontier.times import TimeRow
from benchmarks.machine import ROOT
from benchmarks.paired_times import PairedTimes
from benchmarks.rows import read_csv
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.loop import Training

NAMES = ["full", "random@all-but-first"]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(sweep, "measure_machine", lambda threads: MACHINE)
    monkeypatch.setattr(sweep, "set_threads", lambda threads: None)


def work(path, names=NAMES, seeds=1, deadline=math.inf):
    sweep.Frontier(RECIPE, names, path).train(seeds, deadline, 2)


def numbers(path):
    return {
        (x.setting, x.seed): (x.loss, x.holdout_accuracy, x.test_accuracy)
        for x in read_csv(path, AccuracyRow)
    }


@pytest.mark.slow
def test_interrupted_sweep_goes_on_and_ends_with_the_same_rows(tmp_path, monkeypatch):
    whole, path = tmp_path / "whole" / "rows.csv", tmp_path / "rows.csv"
    whole.parent.mkdir()
    work(whole)
    # Two runs of two epochs. The second save is before the first run has its row, the
    # third in the midst of the second run.
    save = Checkpoint.save
    calls = []

    def interrupt(self, models, epoch, state):
        save(self, models, epoch, state)
        calls.append(epoch)
        if len(calls) in (2, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", interrupt)
    for rows in (False, True):
        with pytest.raises(KeyboardInterrupt):
            work(path)
        assert path.exists() == rows
    work(path)
    assert calls == [1, 2, 1, 2]
    actual, expected = numbers(path), numbers(whole)
    assert actual.keys() == expected.keys() and len(set(expected.values())) == 2
    for key, found in actual.items():
        assert found == pytest.approx(expected[key], rel=1e-4), key
    assert not list(tmp_path.rglob("*.h5"))
    row = read_csv(whole, AccuracyRow)[0]
    assert row == make_row(
        loss=row.loss,
        holdout_accuracy=row.holdout_accuracy,
        test_accuracy=row.test_accuracy,
        epoch_seconds=row.epoch_seconds,
    )
    assert row.epoch_seconds > 0


def test_images_held_out_are_neither_trained_nor_tested_on(tmp_path):
    made = sweep.Frontier(RECIPE, NAMES, tmp_path / "rows.csv")
    trained, held_out, tested = (
        {image.tobytes() for image in images}
        for images in (
            made._dataset.train_images,
            made._dataset.validation_images,
            made._tests.validation_images,
        )
    )
    assert len(trained) == len(held_out) == len(tested) == RECIPE.images
    assert not trained & held_out and not trained & tested and not held_out & tested
    assert made._tests.train_images is made._dataset.train_images


def test_worker_leaves_a_run_to_the_process_that_has_it(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.csv"
    store = Store(path, RECIPE)
    taken = store.checkpoint_folder("full", 0)
    made = []
    monkeypatch.setattr(
        runs.Worker, "_make_run", lambda self, name, *_: made.append(name) or True
    )
    with lock(taken.with_name(f"{taken.name}.lock")) as mine:
        assert mine
        work(path)
    assert made == ["random@all-but-first"]
    assert "full, seed 0: another process is at it" in capsys.readouterr().out


def test_run_that_another_process_has_just_made_is_not_made_again(
    tmp_path, monkeypatch
):
    path = tmp_path / "rows.csv"
    answers = iter([False, True])
    monkeypatch.setattr(Store, "has", lambda *arguments: next(answers))
    monkeypatch.setattr(runs.Worker, "_make_run", None)
    work(path, names=["full"])
    assert next(answers, None) is None and not path.exists()


def test_rows_that_are_added_at_the_same_time_are_all_kept(tmp_path):
    path = tmp_path / "rows.csv"
    threads = [
        threading.Thread(target=Store(path, RECIPE).add, args=(make_row(seed=seed),))
        for seed in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.seed for row in read_csv(path, AccuracyRow)] == list(range(12))


@pytest.mark.slow
def test_two_processes_share_a_sweep(tmp_path):
    command = [
        *(sys.executable, "-m", "benchmarks.frontier.sweep", "--model=cnn2"),
        *("--data=embedded", "--images=128", "--batch=40", "--width=0.1"),
        *("--epochs=2", "--seeds=3", "--threads=1", f"--settings={','.join(NAMES)}"),
        f"--results={tmp_path / 'rows.csv'}",
    ]
    pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    workers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    found = [(x.setting, x.seed) for x in read_csv(tmp_path / "rows.csv", AccuracyRow)]
    assert found == [(name, seed) for seed in range(3) for name in NAMES]
    assert sum(text.count("of the test images\n") for text in outputs) == len(found)


@pytest.mark.parametrize(
    ("seconds", "begun"), [(100.0, False), (1.0, True), (math.nan, True)]
)
def test_no_run_is_begun_that_takes_too_long(seconds, begun, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    Store(path, RECIPE).add(make_row("zero@schedule2", epoch_seconds=seconds))

    class BegunError(Exception):
        pass

    def begin(self):
        raise BegunError

    monkeypatch.setattr(Training, "train", begin)
    # Two epochs of a second or of a hundred, with 150 seconds left.
    deadline = time.monotonic() + 150
    if begun:
        with pytest.raises(BegunError):
            work(path, deadline=deadline)
    else:
        work(path, deadline=deadline)


def test_rows_of_another_sweep_are_refused_and_kept(tmp_path):
    path = tmp_path / "rows.csv"
    Store(path, RECIPE).add(make_row())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="epochs=2, not 3"):
        sweep.Frontier(dataclasses.replace(RECIPE, epochs=3), NAMES, path)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_times_are_medians_and_quartiles_of_whole_periods(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    ratios = [1.0, 2.0, 4.0, 8.0]
    monkeypatch.setattr(PairedTimes, "ratios", lambda *arguments: ratios)
    # The second time replaces the first.
    for _ in range(2):
        sweep.Frontier(RECIPE, ["full", "zero@schedule2"], path).time(3, math.inf, 2)
    (row,) = read_csv(tmp_path / "rows_times.csv", TimeRow)
    assert (row.setting, row.steps, row.cpu) == ("zero@schedule2", 4, "a cpu")
    assert (row.faster_low, row.faster, row.faster_high) == (1.75, 3.0, 5.0)
    assert min(row.full_ms, row.step_ms) > 0
    with pytest.raises(ValueError, match="step times with batch=40, not 20"):
        sweep.Frontier(dataclasses.replace(RECIPE, batch=20), NAMES, path)


def test_speed_is_timed_alone_and_not_after_the_deadline(tmp_path, monkeypatch, capsys):
    made = sweep.Frontier(RECIPE, NAMES, tmp_path / "rows.csv")
    machine_lock = made._store.machine_lock
    monkeypatch.setattr(times, "measure", None)
    with (
        lock(machine_lock, shared=True),
        lock(machine_lock, shared=True) as second,
        pytest.raises(ValueError, match="timed alone"),
    ):
        assert second
        made.time(4, math.inf, 2)
    with lock(machine_lock), pytest.raises(ValueError, match="--time is running"):
        made.train(1, math.inf, 2)
    made.time(4, time.monotonic() - 1, 2)
    assert f"no time left for {NAMES[1]}." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (
            "--settings=unheard-of@schedule1",
            "must be one of full, exact, winograd, zero",
        ),
        ("--only=(", "isn't a regular expression"),
        ("--only=x^", "matches none of full"),
        ("--results=nowhere/rows.csv", "there is no such folder"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(
    argument, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        sweep.main(["--data=embedded", "--results=rows.csv", argument])
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
