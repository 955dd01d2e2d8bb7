"""Runs and step times of time to a loss: made once, resumed, refused."""

import dataclasses
import json

import pytest
from frontier_rows import MACHINE

from benchmarks.rows import read_csv
from benchmarks.time_to_loss import sweep, times
from benchmarks.time_to_loss.contenders import DEFAULTS, Contender
from benchmarks.time_to_loss.results import Point
from benchmarks.training.checkpoint import Checkpoint

ARGUMENTS = [
    "--model=cnn2",
    "--data=embedded",
    "--images=256",
    "--width=0.1",
    "--epochs=2",
    "--seeds=1",
]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(sweep, "measure_machine", lambda threads: MACHINE)
    monkeypatch.setattr(sweep, "set_threads", lambda threads: None)


def call(folder, contenders, *others):
    sweep.main(
        [*ARGUMENTS, f"--results={folder}", f"--contenders={contenders}", *others]
    )


def points(folder):
    return read_csv(folder / "cnn2.csv", Point)


def test_runs_are_trained_timed_and_reported(tmp_path, capsys):
    call(tmp_path, "exact/32,adaptive/16,fixed/16")
    found = points(tmp_path)
    assert [(x.contender, x.steps) for x in found] == [
        (name, steps)
        for name, all_steps in (
            ("adaptive/16", (8, 16, 24, 32)),
            ("exact/32", (4, 8, 12, 16)),
            ("fixed/16", (8, 16, 24, 32)),
        )
        for steps in all_steps
    ]
    assert found[0].images == 128 and found[-1].test_accuracy > 0.1
    assert found[-1].loss < found[0].loss
    assert not list((tmp_path / "time_to_loss.running").rglob("*.h5"))
    assert "Nothing is both trained and timed" in capsys.readouterr().out
    call(tmp_path, "exact/32,adaptive/16,fixed/16", "--time", "--steps=2")
    rows = read_csv(tmp_path / "cnn2_times.csv", times.TimeRow)
    names = {(x.contender, x.seed) for x in rows}
    assert names == {
        ("full/16", -1),
        ("full/32", -1),
        ("exact/32", -1),
        ("adaptive/16", 0),
        ("fixed/16", 0),
    }
    assert min(x.ratio for x in rows) > 0
    assert (tmp_path / "cnn2.png").exists()


def test_interrupted_run_goes_on_with_the_same_points(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    call(whole, "exact/32")
    save = Checkpoint.save

    def interrupt(self, *arguments):
        save(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(parts, "exact/32")
    assert not (parts / "cnn2.csv").exists()
    monkeypatch.setattr(Checkpoint, "save", save)
    call(parts, "exact/32")
    expected = [dataclasses.replace(x, seconds=0, overhead=0) for x in points(whole)]
    for one, other in zip(points(parts), expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert (one.steps, one.images) == (other.steps, other.images)
    # It isn't made again.
    before = (parts / "cnn2.csv").read_text()
    call(parts, "exact/32")
    assert (parts / "cnn2.csv").read_text() == before


def test_default_contenders_are_known():
    for text in DEFAULTS:
        assert str(Contender.parse(text, "resnet18_half")) == text


@pytest.mark.parametrize("text", ["exact", "exact/0", "exact/many", "sampled?/32"])
def test_unknown_contender_is_refused(text, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(tmp_path, text)
    assert text.split("/")[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_results_of_another_recipe_are_refused(tmp_path, capsys):
    (tmp_path / "cnn2.json").write_text(json.dumps({"model": "cnn2", "images": 7}))
    with pytest.raises(SystemExit):
        call(tmp_path, "exact/32")
    assert "repeat the arguments" in capsys.readouterr().err


def test_fixed_needs_what_adaptive_decided(tmp_path):
    with pytest.raises(ValueError, match="run adaptive with the same batch"):
        call(tmp_path, "fixed/32")
