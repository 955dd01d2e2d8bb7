"""The frontier's runs: made once, resumed, and kept whole, whoever makes them."""

import dataclasses
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import accuracy_speed_frontier as frontier
import frontier_times
import numpy as np
import pytest
import settings
import train
import training
from absl import flags
from benchmarking import Machine
from checkpoint import Checkpoint
from frontier_runs import AccuracyRow, Store, Sweep, lock
from frontier_times import TimeRow
from results import read_csv

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")
NAMES = ["full", "random@all-but-first"]
PROGRAM = Path(frontier.__file__)
assert "train" in flags.FLAGS.flags_by_module_dict(), train
BASE = settings.Settings(
    **{
        x.name: flags.FLAGS[x.name].default
        for x in dataclasses.fields(settings.Settings)
    }
    | {"compare": (), "width": 0.1, "batch": 40, "limit": 128, "epochs": 2}
    | {"validation": "holdout"}
)
SWEEP = Sweep("cnn2", "embedded", 128, 2, 40, 0.1, 0.9, False, 1e-3, 0.9, 1.0)


def make_row(setting="full", seed=0, **changes) -> AccuracyRow:
    values = dataclasses.asdict(MACHINE) | dataclasses.asdict(SWEEP)
    values |= {"setting": setting, "seed": seed, "loss": 1.0, "holdout_accuracy": 0.5}
    values |= {"test_accuracy": 0.25, "epoch_seconds": math.nan}
    return AccuracyRow(**values | changes)


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(frontier, "measure_machine", lambda threads: MACHINE)


def work(path, names=NAMES, seeds=1, deadline=math.inf):
    frontier.Frontier(BASE, names, path).train(seeds, deadline, 2)


def numbers(path):
    return {
        (x.setting, x.seed): (x.loss, x.holdout_accuracy, x.test_accuracy)
        for x in read_csv(path, AccuracyRow)
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The numbers of a sweep that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "rows.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontier, "measure_machine", lambda threads: MACHINE)
        work(path)
    return numbers(path)


@pytest.mark.slow
@pytest.mark.parametrize("saves", [1, 2, 3])
def test_interrupted_sweep_goes_on_and_ends_with_the_same_rows(
    saves, whole, tmp_path, monkeypatch
):
    # Two runs of two epochs. The second save is before the first run has its row.
    save = Checkpoint.save
    calls = []

    def interrupt(self, models, epoch, state):
        save(self, models, epoch, state)
        calls.append(epoch)
        if len(calls) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", interrupt)
    path = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        work(path)
    assert path.exists() == (saves > 2)
    work(path)
    assert calls == [1, 2, 1, 2]
    actual = numbers(path)
    assert actual.keys() == whole.keys()
    for key, expected in whole.items():
        assert actual[key] == pytest.approx(expected, rel=1e-4), key
    assert not list(tmp_path.rglob("*.h5"))


def test_rows_name_the_machine_and_what_was_trained(whole, tmp_path):
    path = tmp_path / "rows.csv"
    work(path, names=["full"])
    (row,) = read_csv(path, AccuracyRow)
    expected = make_row(
        loss=row.loss,
        holdout_accuracy=row.holdout_accuracy,
        test_accuracy=row.test_accuracy,
        epoch_seconds=row.epoch_seconds,
    )
    assert row == expected
    assert row.epoch_seconds > 0
    assert len(set(whole.values())) == len(NAMES)


def test_images_held_out_are_neither_trained_nor_tested_on(tmp_path):
    made = frontier.Frontier(BASE, NAMES, tmp_path / "rows.csv")
    trained, held_out, tested = (
        {image.tobytes() for image in images}
        for images in (
            made._dataset.train_images,
            made._dataset.validation_images,
            made._tests.validation_images,
        )
    )
    assert len(trained) == len(held_out) == len(tested) == BASE.limit
    assert not trained & held_out and not trained & tested and not held_out & tested
    assert made._tests.train_images is made._dataset.train_images


def test_worker_leaves_a_run_to_the_process_that_has_it(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    store = Store(path, SWEEP)
    taken = store.checkpoint_folder("full", 0)
    with lock(taken.with_name(f"{taken.name}.lock")) as mine:
        assert mine
        work(path)
    assert list(numbers(path)) == [("random@all-but-first", 0)]
    assert "full, seed 0: another process is at it" in capsys.readouterr().out


def test_run_that_another_process_has_just_made_is_not_made_again(
    tmp_path, monkeypatch
):
    path = tmp_path / "rows.csv"
    answers = iter([False, True])
    monkeypatch.setattr(Store, "has", lambda *arguments: next(answers))
    monkeypatch.setattr(training, "train", None)
    work(path, names=["full"])
    assert next(answers, None) is None and not path.exists()


def test_rows_that_are_added_at_the_same_time_are_all_kept(tmp_path):
    path = tmp_path / "rows.csv"
    threads = [
        threading.Thread(target=Store(path, SWEEP).add, args=(make_row(seed=seed),))
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
        *(sys.executable, PROGRAM, "--model=cnn2", "--data=embedded", "--images=128"),
        *("--batch=40", "--width=0.1", "--epochs=2", "--seeds=3", "--threads=1"),
        *(f"--settings={' '.join(NAMES)}", f"--results={tmp_path / 'rows.csv'}"),
    ]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    found = [(x.setting, x.seed) for x in read_csv(tmp_path / "rows.csv", AccuracyRow)]
    assert found == [(name, seed) for seed in range(3) for name in NAMES]
    assert sum(text.count("of the test images\n") for text in outputs) == len(found)
    assert (tmp_path / "rows.png").exists()


@pytest.mark.parametrize(
    ("seconds", "begun"), [(100.0, False), (1.0, True), (math.nan, True)]
)
def test_no_run_is_begun_that_takes_too_long(seconds, begun, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    Store(path, SWEEP).add(make_row("zero@schedule2", epoch_seconds=seconds))

    class BegunError(Exception):
        pass

    def begin(*arguments):
        raise BegunError

    monkeypatch.setattr(training, "train", begin)
    # Two epochs of a second or of a hundred, with 150 seconds left.
    deadline = time.monotonic() + 150
    if begun:
        with pytest.raises(BegunError):
            work(path, deadline=deadline)
    else:
        work(path, deadline=deadline)


def test_rows_of_another_sweep_are_refused_and_kept(tmp_path):
    path = tmp_path / "rows.csv"
    Store(path, SWEEP).add(make_row())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="epochs=2, not 3"):
        frontier.Frontier(dataclasses.replace(BASE, epochs=3), NAMES, path)
    assert path.read_bytes() == before


def test_file_that_holds_no_runs_is_refused_and_kept(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("setting,seed\n")
    with pytest.raises(ValueError, match="must have the columns cpu, "):
        frontier.Frontier(BASE, NAMES, path)
    assert path.read_text() == "setting,seed\n"


def test_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        frontier.Frontier(BASE, NAMES, tmp_path / "nowhere" / "rows.csv")


def test_times_are_medians_and_quartiles_of_pairs(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    pairs = generator.uniform(1, 2, (7, 2))

    def feed(runs, iterator, steps, times):
        for number in range(steps):
            full, other = pairs[max(0, number - (steps - len(pairs)))]
            times.add({"full": full, NAMES[1]: other})

    monkeypatch.setattr(training, "train_in_turns", feed)
    path = tmp_path / "rows.csv"
    for _ in range(2):
        frontier.Frontier(BASE, NAMES, path).time(len(pairs), math.inf, 2)
    (row,) = read_csv(tmp_path / "rows_times.csv", TimeRow)
    ratios = pairs[:, 0] / pairs[:, 1]
    expected = np.quantile(ratios, [0.25, 0.5, 0.75])
    found = (row.faster_low, row.faster, row.faster_high)
    assert found == pytest.approx(tuple(expected))
    medians = 1e3 * np.median(pairs, axis=0)
    assert (row.full_ms, row.step_ms) == pytest.approx(tuple(medians))
    assert (row.setting, row.steps, row.cpu) == (NAMES[1], len(pairs), "a cpu")
    with pytest.raises(ValueError, match="step times with batch=40, not 20"):
        frontier.Frontier(dataclasses.replace(BASE, batch=20), NAMES, path)


def test_timed_steps_are_whole_periods_after_a_warm_up(tmp_path):
    dataset = frontier.Frontier(BASE, NAMES, tmp_path / "rows.csv")._dataset
    found = frontier_times.measure("zero@schedule2", BASE, dataset, steps=3)
    assert found.steps == 4
    assert 0 < found.faster_low <= found.faster <= found.faster_high


def test_speed_is_timed_alone(tmp_path, monkeypatch):
    made = frontier.Frontier(BASE, NAMES, tmp_path / "rows.csv")
    machine_lock = made._store.machine_lock
    monkeypatch.setattr(training, "train", None)
    monkeypatch.setattr(frontier_times, "measure", None)
    with (
        lock(machine_lock, shared=True),
        lock(machine_lock, shared=True) as second,
        pytest.raises(ValueError, match="timed alone"),
    ):
        assert second
        made.time(4, math.inf, 2)
    with lock(machine_lock), pytest.raises(ValueError, match="--time is running"):
        made.train(1, math.inf, 2)


def test_no_setting_is_timed_after_the_deadline(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(frontier_times, "measure", None)
    made = frontier.Frontier(BASE, NAMES, tmp_path / "rows.csv")
    made.time(4, time.monotonic() - 1, 2)
    assert f"no time left for {NAMES[1]}." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--method=max", "--method is one of train.py's: the sweep decides it."),
        ("--settings=unheard-of@schedule1", "must be one of full, zero, random, max"),
    ],
)
def test_program_refuses_with_one_sentence_and_no_traceback(argument, words, tmp_path):
    finished = subprocess.run(
        [sys.executable, PROGRAM, argument, f"--results={tmp_path / 'rows.csv'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert words in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
    assert not list(tmp_path.iterdir())
