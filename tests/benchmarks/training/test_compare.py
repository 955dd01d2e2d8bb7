"""The comparison from its arguments to its files, on a few images."""

import csv
import math

import keras
import pytest
import tensorflow as tf

from benchmarks.training import compare, fidelity
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.compare import SummaryRow, format_table
from benchmarks.training.datasets import load_dataset
from benchmarks.training.loop import Training
from benchmarks.training.recipe import Recipe

# Three steps an epoch, an odd number: Alternate's period goes on across epochs.
TINY = ("--images=128", "--batch=40", "--width=0.1", "--epochs=2")
RECIPE = Recipe(images=128, batch=40, width=0.1, epochs=2)


def run(*arguments):
    compare.main([*TINY, *arguments])


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def results(path):
    """The numbers of history.csv by setting and epoch."""
    return {
        (row.pop("setting"), row.pop("epoch")): [float(value) for value in row.values()]
        for row in read_csv(path / "history.csv")
    }


def refusal(capsys, *arguments):
    """The sentence in which the program refuses its arguments."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--settings=full,random,row-sampled:share=0.5",),
        pytest.param(
            ("--settings=full,max:k=2@schedule3", "--augment"), marks=pytest.mark.slow
        ),
    ],
)
def test_resumed_run_equals_an_uninterrupted_one(arguments, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(*arguments, f"--output={whole}")
    resumable = (*arguments, f"--output={parts}", f"--checkpoint={tmp_path / 'saved'}")
    run(*resumable, "--epochs=1")
    run(*resumable)
    expected, actual = results(whole), results(parts)
    assert actual.keys() == expected.keys() and len(actual) >= 4
    for key, numbers in expected.items():
        assert actual[key] == pytest.approx(numbers, rel=1e-4), key


def test_comparison_writes_a_table_curves_and_the_schedule(tmp_path, capsys):
    folder = tmp_path / "out"
    run("--settings=full,zero,max@schedule1", f"--output={folder}")
    names = {path.name for path in folder.iterdir()}
    assert names == {"history.csv", "summary.csv", "curves.png", "schedule.png"}
    full, zero, other = read_csv(folder / "summary.csv")
    assert [x["setting"] for x in (full, zero, other)] == [
        "full",
        "zero",
        "max@schedule1",
    ]
    lost = 100 * (float(full["best_accuracy"]) - float(zero["best_accuracy"]))
    assert float(zero["accuracy_lost"]) == pytest.approx(lost)
    printed = capsys.readouterr().out
    for heading in ("validation accuracy", "accuracy lost", "step time", "speed"):
        assert heading in printed
    for name in ("curves.png", "schedule.png"):
        assert tf.io.decode_png((folder / name).read_bytes()).shape[0] > 100


def test_table_shows_what_was_lost_and_gained():
    rows = [
        SummaryRow("full", 0.901, 0.9, 0.0, 100.0, 1.0),
        SummaryRow("max", 0.8912, 0.89, 0.98, 80.5, 1.242),
        SummaryRow("zero", 0.88, 0.88, 2.1, math.nan, math.nan),
    ]
    lines = format_table(rows).splitlines()
    assert lines[2].split() == ["full", "90.10%", "-", "100.0", "ms", "-"]
    assert lines[3].split() == [
        "max",
        "89.12%",
        "0.98",
        "points",
        "80.5",
        "ms",
        "1.24x",
    ]
    assert lines[4].split() == ["zero", "88.00%", "2.10", "points", "not", "timed", "-"]


def test_settings_start_from_the_same_weights_and_timed_windows_are_whole_periods():
    training = Training(
        ["full", "zero@schedule2", "max@schedule3"],
        RECIPE,
        load_dataset("embedded", 128),
        seed=0,
    )
    first, *others = [run.model.get_weights() for run in training.runs]
    for weights in others:
        for a, b in zip(first, weights, strict=True):
            assert (a == b).all()
    assert training.period == 4
    assert training.time(3) == 4
    assert len(training.times.ratios("max@schedule3", "full")) == 1


def test_loss_of_an_epoch_is_the_mean_over_its_batches():
    class Recorded(keras.Model):
        """Returns the label of each batch's first image as the loss."""

        def reset_metrics(self):
            pass

        def train_on_batch(self, images, labels, return_dict):
            del images, return_dict
            return {"loss": float(labels[0]), "accuracy": 0.5}

    training = Training(["full"], RECIPE, load_dataset("embedded", 128), seed=0)
    training.runs[0].model = Recorded()
    logs = training._train_in_turns(iter(training._batches.training(0)), 3)
    again = iter(training._batches.training(0))
    labels = [float(next(again)[1][0]) for _ in range(3)]
    assert logs["full"]["loss"] == pytest.approx(sum(labels) / 3)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--settings=full,max:k=0", ("k must be", "an integer >= 1", "got 0")),
        ("--settings=full,maximum", ("'maximum'", "row-sampled")),
        ("--settings=zero,max", ("settings=zero,max", "full")),
        ("--settings=full,full", ("settings=full,full", "once")),
        ("--settings=full,max@constant:layers=3", ("layers", "3", "2")),
        ("--batch=129", ("batch=129", "128")),
        ("--images=3", ("3 must be at least 10",)),
        ("--width=0", ("width", "> 0")),
        ("--data=mnist", ("'mnist'", "fashion_mnist")),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    argument, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    sentence = refusal(capsys, argument, "--output=out", "--checkpoint=saved")
    for word in words:
        assert word in sentence
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_other_settings_or_with_damaged_weights_is_refused(
    tmp_path, capsys
):
    saved = f"--checkpoint={tmp_path}"
    run("--settings=full,zero", "--epochs=1", saved)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    sentence = refusal(capsys, "--settings=full,zero", "--seed=1", saved)
    assert "seed: 0 there, 1 now" in sentence
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    weights = min(tmp_path.glob("*.h5"))
    weights.write_bytes(b"not weights")
    with pytest.raises(SystemExit):
        run("--settings=full,zero", saved)
    assert f"{weights.name} can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["{", "[]", '{"settings": {}}'])
def test_damaged_checkpoint_is_refused(damage, tmp_path):
    (tmp_path / "state.json").write_text(damage)
    with pytest.raises(ValueError, match=r"checkpoint='.*' is damaged"):
        Checkpoint(tmp_path, {}).restore({})
    assert (tmp_path / "state.json").read_text() == damage


def test_checkpoint_deletes_no_file_that_it_did_not_write(tmp_path):
    own = tmp_path / "model7-epoch1.weights.h5"
    own.write_text("the user's")
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.save({"a": model}, 1, {"epoch": 1})
    checkpoint.save({"a": model}, 2, {"epoch": 2})
    assert own.read_text() == "the user's"
    assert not (tmp_path / "model0-epoch1.weights.h5").exists()
    assert checkpoint.restore({"a": model}) == {"epoch": 2}


@pytest.mark.parametrize(
    ("gradient", "title"),
    [
        ("filter", "filter gradients"),
        pytest.param(
            "propagated",
            "filter gradients behind approximate input gradients",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_fidelity_is_measured_before_and_after_training(
    gradient, title, tmp_path, capsys
):
    fidelity.main(
        [
            *("--model=cnn2", "--images=40", "--batch=10", "--repeats=1"),
            *(f"--gradient={gradient}", f"--output={tmp_path}"),
        ]
    )
    assert capsys.readouterr().out.count(f"Fidelity of {title} of model") == 2
    before, after = (read_csv(tmp_path / f"{name}.csv") for name in ("before", "after"))
    assert {row["gradient"] for row in before} == {gradient}
    assert len(before) == 2 * len(fidelity.METHODS)
    assert [row["cosine"] for row in before] != [row["cosine"] for row in after]
    assert (tmp_path / "after.png").stat().st_size > 0
