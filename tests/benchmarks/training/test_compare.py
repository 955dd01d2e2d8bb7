"""The comparison from its arguments to its files, on a few images."""

import csv
import math
import shutil

import keras
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.training import compare, fidelity
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.compare import SummaryRow, format_table
from benchmarks.training.datasets import load_dataset
from benchmarks.training.loop import Training
from benchmarks.training.recipe import Recipe

# Three steps an epoch, an odd number: Alternate's period goes on across epochs.
TINY = ("--images=128", "--batch=40", "--width=0.1", "--epochs=2")
SETTINGS = ("--settings=full,row-sampled:share=0.5", "--augment")
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folders of a comparison that nothing interrupted, and of its checkpoint."""
    folder = tmp_path_factory.mktemp("finished")
    run(*SETTINGS, f"--output={folder / 'out'}", f"--checkpoint={folder / 'saved'}")
    return folder / "out", folder / "saved"


@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_one(finished, tmp_path):
    resumable = (*SETTINGS, f"--output={tmp_path / 'out'}", f"--checkpoint={tmp_path}")
    run(*resumable, "--epochs=1")
    run(*resumable)
    expected, actual = results(finished[0]), results(tmp_path / "out")
    assert actual.keys() == expected.keys() and len(actual) == 4
    for key, numbers in expected.items():
        assert actual[key] == pytest.approx(numbers, rel=1e-4), key


def test_comparison_writes_a_table_curves_and_the_schedule(finished):
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {"history.csv", "summary.csv", "curves.png", "schedule.png"}
    full, other = read_csv(folder / "summary.csv")
    assert [x["setting"] for x in (full, other)] == ["full", "row-sampled:share=0.5"]
    lost = 100 * (float(full["best_accuracy"]) - float(other["best_accuracy"]))
    assert float(other["accuracy_lost"]) == pytest.approx(lost)
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


def test_timed_steps_are_whole_periods_after_a_warm_up(monkeypatch):
    names = ["full", "zero@schedule2", "max@every_nth_step:n=3"]
    training = Training(names, RECIPE, load_dataset("embedded", 128), seed=0)
    trained = []
    monkeypatch.setattr(training, "_train_in_turns", lambda _, n: trained.append(n))
    assert training.period == 6
    assert training.time(7) == 12
    assert trained == [6 + 12]


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
    finished, tmp_path, capsys
):
    saved = shutil.copytree(finished[1], tmp_path / "saved")
    before = {path: path.read_bytes() for path in saved.iterdir()}
    sentence = refusal(capsys, *SETTINGS, "--seed=1", f"--checkpoint={saved}")
    assert "seed: 0 there, 1 now" in sentence
    assert {path: path.read_bytes() for path in saved.iterdir()} == before
    weights = min(saved.glob("*.h5"))
    weights.write_bytes(b"not weights")
    sentence = refusal(capsys, *SETTINGS, f"--checkpoint={saved}")
    assert f"{weights.name} can't be read" in sentence


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
    gradient, title, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(fidelity, "METHODS", (tfag.ZeroGradient(), tfag.MaxGradient()))
    fidelity.main(
        [
            *("--model=cnn2", "--images=40", "--batch=10", "--width=0.1"),
            *("--repeats=1", f"--gradient={gradient}", f"--output={tmp_path}"),
        ]
    )
    assert capsys.readouterr().out.count(f"Fidelity of {title} of model") == 2
    before, after = (read_csv(tmp_path / f"{name}.csv") for name in ("before", "after"))
    assert {row["gradient"] for row in before} == {gradient}
    assert len(before) == 2 * 2
    assert [row["cosine"] for row in before] != [row["cosine"] for row in after]
    assert (tmp_path / "after.png").stat().st_size > 0
