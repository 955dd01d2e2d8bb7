"""The training program from its flags to its files, on a few images."""

import csv
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf
import train
import training
from absl import flags
from batches import BatchMaker
from checkpoint import Checkpoint

# Three steps an epoch, an odd number: Alternate's period goes on across epochs.
TINY = ("--limit=128", "--batch=40", "--width=0.1", "--epochs=2")
PROGRAM = Path(train.__file__)


def make_job(*arguments: str) -> train.Job:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS.flags_by_module_dict()["train"]:
        name.unparse()
    flags.FLAGS(["train.py", *TINY, *arguments])
    return train.Job(train.read_flags())


def run(*arguments: str) -> train.Job:
    job = make_job(*arguments)
    job.train()
    job.report()
    return job


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def results(rows: list[dict[str, str]]) -> dict[tuple[str, str], list[float]]:
    """The numbers of history.csv by method and epoch."""
    return {
        (row.pop("method"), row.pop("epoch")): [float(value) for value in row.values()]
        for row in rows
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("--compare=full,random,max:k=2",),
        ("--method=max",),
        ("--method=random", "--schedule=every_nth_step", "--augment"),
        ("--schedule=none",),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_resumed_run_equals_an_uninterrupted_one(arguments, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(*arguments, "--epochs=2", f"--output={whole}")
    resumable = (*arguments, f"--output={parts}", f"--checkpoint={tmp_path / 'saved'}")
    run(*resumable, "--epochs=1")
    run(*resumable, "--epochs=2")
    expected = results(read_csv(whole / "history.csv"))
    actual = results(read_csv(parts / "history.csv"))
    assert actual.keys() == expected.keys()
    for key, numbers in expected.items():
        assert actual[key] == pytest.approx(numbers, rel=1e-4), key


def test_compare_writes_a_table_curves_and_the_schedule(tmp_path, capsys):
    run("--compare=full,zero,max", f"--output={tmp_path / 'out'}")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"history.csv", "summary.csv", "curves.png", "schedule.png"}
    summary = {row["method"]: row for row in read_csv(tmp_path / "out" / "summary.csv")}
    assert list(summary) == ["full", "zero", "max"]
    full, zero = summary["full"], summary["zero"]
    lost = 100 * (float(full["best_accuracy"]) - float(zero["best_accuracy"]))
    assert float(zero["accuracy_lost"]) == pytest.approx(lost)
    printed = capsys.readouterr().out
    for heading in ("validation accuracy", "accuracy lost", "step time", "speed-up"):
        assert heading in printed
    for name in ("curves.png", "schedule.png"):
        assert tf.io.decode_png((tmp_path / "out" / name).read_bytes()).shape[0] > 100


def test_methods_start_from_the_same_weights_and_see_the_same_batches():
    job = make_job("--compare=full,zero,max")
    first, *others = [run.model.get_weights() for run in job._runs]
    for weights in others:
        for a, b in zip(first, weights, strict=True):
            assert (a == b).all()


def test_loss_of_an_epoch_is_the_mean_over_its_batches():
    dataset = make_job("--compare=full,zero")._dataset
    batches = BatchMaker(dataset, 32, 0, False)

    class Recorded(keras.Model):
        """Returns the label of each batch's first image as the loss."""

        def reset_metrics(self):
            pass

        def train_on_batch(self, images, labels, return_dict):
            del images, return_dict
            return {"loss": float(labels[0]), "accuracy": 0.5}

    runs = [training.Run("full", Recorded())]
    times = training.new_times(runs, period=1)
    iterator = iter(batches.training(0, ahead=False))
    logs = training.train_in_turns(runs, iterator, 4, times)
    again = iter(batches.training(0, ahead=False))
    labels = [float(next(again)[1][0]) for _ in range(4)]
    assert logs["full"]["loss"] == pytest.approx(sum(labels) / 4)


@pytest.mark.parametrize("arguments", [("--compare=full,zero",), ("--method=zero",)])
def test_tensorboard_gets_logs(arguments, tmp_path):
    run(*arguments, "--epochs=1", f"--tensorboard={tmp_path / 'logs'}")
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--k=0",), ("k must be", "an integer >= 1", "got 0")),
        (("--method=random", "--stddev=-1"), ("stddev", ">= 0", "-1")),
        (("--method=maximum",), ("method='maximum'", "max")),
        (("--compare=zero,max",), ("compare='zero,max'", "full")),
        (("--compare=full,full",), ("compare=", "once")),
        (("--batch=129",), ("batch=129", "128")),
        (("--limit=3",), ("limit=3", "10")),
        (("--width=0",), ("width", "> 0")),
        (("--schedule=constant", "--schedule_layers=3"), ("layers", "3", "2")),
        (("--schedule=constant", "--schedule_layers=conv9"), ("conv9", "conv2")),
        (("--schedule_n=3",), ("schedule_n=3", "alternate")),
        (("--data=cifar10",), ("data='cifar10'", "data_path")),
        (("--data=cifar10", "--data_path=nowhere"), ("nowhere",)),
        (("--data_path=somewhere",), ("data_path='somewhere'", "embedded")),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_flags_are_refused_before_anything_is_written(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError)) as caught:
        make_job(*arguments, "--output=out", "--checkpoint=saved")
    for word in words:
        assert word in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_program_stops_with_one_sentence_and_no_traceback(tmp_path):
    finished = subprocess.run(
        [sys.executable, PROGRAM, "--k=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("train.py: k must be")
    assert "Traceback" not in finished.stderr
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_other_settings_is_refused_and_kept(tmp_path):
    saved = tmp_path / "saved"
    run("--epochs=1", f"--checkpoint={saved}")
    before = {path: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(ValueError, match="seed: 0 there, 1 now"):
        make_job("--seed=1", f"--checkpoint={saved}")
    assert {path: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize("damage", ["{", "[]", '{"settings": {}}'])
def test_damaged_checkpoint_is_refused(damage, tmp_path):
    (tmp_path / "state.json").write_text(damage)
    with pytest.raises(ValueError, match=r"checkpoint='.*' is damaged"):
        make_job(f"--checkpoint={tmp_path}")
    assert (tmp_path / "state.json").read_text() == damage


def test_checkpoint_with_damaged_weights_is_refused(tmp_path):
    run("--epochs=1", f"--checkpoint={tmp_path}")
    (weights,) = tmp_path.glob("*.h5")
    weights.write_bytes(b"not weights")
    with pytest.raises(ValueError, match=rf"{weights.name} can't be read"):
        make_job(f"--checkpoint={tmp_path}")


def test_checkpoint_deletes_no_file_that_it_did_not_write(tmp_path):
    own = tmp_path / "model7-epoch1.weights.h5"
    own.write_text("the user's")
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    checkpoint = Checkpoint(str(tmp_path), {})
    checkpoint.save({"a": model}, 1, {"epoch": 1})
    checkpoint.save({"a": model}, 2, {"epoch": 2})
    assert own.read_text() == "the user's"
    assert not (tmp_path / "model0-epoch1.weights.h5").exists()
    assert checkpoint.restore({"a": model}) == {"epoch": 2}
