"""Predictions held against runs: resumed, and compared by rank."""

import dataclasses
import math

import numpy as np
import pytest

from benchmarks.machine import Machine
from benchmarks.planning import prediction_training, predictions
from benchmarks.planning.prediction_runs import Run, agreement, of_settings, spearman
from benchmarks.planning.prediction_training import RunRow, TauRow
from benchmarks.rows import merge, read_csv, write_csv

MACHINE = Machine("cpu", 1, "avx2", 1.0, 1.0, "2", "0")


def make_run(setting: str, batch: int, seed: int, loss: float, tau: float) -> Run:
    return Run(
        network="cnn2",
        width=1.0,
        images=1000,
        steps=30,
        batch=batch,
        setting=setting,
        seed=seed,
        is_biased=False,
        tau=tau,
        tau_of_sums=tau,
        noise_batch=0.0,
        losses=" ".join(f"{2 - 0.05 * part}" for part in range(30)),
        loss=loss,
        accuracy=1 - loss,
    )


def rows_of(runs: list[Run]) -> list[RunRow]:
    return [merge(RunRow, MACHINE, run) for run in runs]


def test_runs_are_made_once_and_predicted(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(predictions, "measure_machine", lambda threads: MACHINE)
    # TensorFlow has computed before.
    monkeypatch.setattr(predictions, "set_threads", lambda threads: None)
    monkeypatch.setattr(prediction_training, "BATCHES", (128, 64))
    settings = ("row-sampled:share=0.25@constant", "sampled:k=0.5@schedule2")
    monkeypatch.setattr(predictions, "UNBIASED", settings)
    monkeypatch.setattr(predictions, "BIASED", ())
    path = tmp_path / "runs.csv"
    arguments = ["--data=embedded", "--images=1024", "--steps=30", "--width=0.125"]
    arguments += ["--exact_seeds=1", f"--results={path}"]
    predictions.main([*arguments, "--seeds=1"])
    rows, text = read_csv(path, RunRow), path.read_text()
    assert [(x.setting, x.batch) for x in rows] == [
        ("full", 128),
        ("full", 64),
        *((name, 128) for name in settings),
    ]
    full, _, approximate, _ = rows
    assert approximate.tau > 0
    assert approximate.is_predicted
    assert approximate.lost_loss == pytest.approx(approximate.loss - full.loss)
    taus = [
        row.tau
        for row in read_csv(path.with_name("runs_tau.csv"), TauRow)
        if row.setting == settings[0]
    ]
    assert len(taus) == len(prediction_training.MOMENTS)
    assert approximate.tau == pytest.approx(np.mean(taus))
    # Nothing is left to be trained.
    monkeypatch.setattr(prediction_training.Trainer, "_make_run", None)
    predictions.main([*arguments, "--seeds=1"])
    assert path.read_text() == text


def test_exact_runs_alone_predict_the_others() -> None:
    exact = [
        make_run("full", batch, seed, 10 / batch + 0.01 * seed, 0.0)
        for batch in (128, 64)
        for seed in (0, 1)
    ]
    # As half of the batch does; too far from the line; and of another network.
    runs = [make_run("max", 128, seed, 10 / 64 + 0.01 * seed, 1.0) for seed in (0, 1)]
    runs += [make_run("max", 128, 0, 1.0, 9.0)]
    other = dataclasses.replace(runs[0], network="vgg19")
    found = predictions.predicted(rows_of([*exact, *runs, other]))
    assert [x.predicted_loss for x in found[4:6]] == pytest.approx(
        [10 / 64 + 0.01 * seed for seed in (0, 1)]
    )
    assert [x.lost_loss for x in found[4:6]] == pytest.approx([10 / 128] * 2)
    assert [x.lost_accuracy for x in found[4:6]] == pytest.approx([10 / 128] * 2)
    # tau 1 and noise alone: the loss was that of half of the run, 15 parts before.
    assert found[4].lost_loss_by_noise == pytest.approx(0.05 * 15)
    assert [x.is_predicted for x in found[4:]] == [True, True, False, False]
    table = predictions.format_agreements(found)
    assert "cnn2, unbiased" in table


def test_agreement_counts_close_losses_and_ranks_lost_ones() -> None:
    runs = [
        dataclasses.replace(
            make_run("max", 128, 0, loss, 1.0),
            predicted_loss=predicted,
            predicted_lost_loss=predicted,
            lost_loss=loss,
        )
        for loss, predicted in ((1.0, 1.04), (2.0, 2.2), (3.0, 3.0), (4.0, math.nan))
    ]
    found = agreement(runs)
    assert (found.runs, found.predicted, found.close) == (4, 3, 2)
    assert found.loss == pytest.approx(1.0)
    assert math.isnan(found.accuracy)
    (mean,) = of_settings(runs[:3])
    assert (mean.loss, mean.seed) == (2.0, 0)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3, 4], [10, 100, 1000, 2000], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        # 1 - 6 * sum d^2 / (n (n^2 - 1)), without ties.
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 1 - 6 * 4 / (5 * 24)),
        # Ranks 1.5, 1.5, 3 and 1, 2, 3.
        ([0, 0, 1], [1, 2, 3], math.sqrt(3) / 2),
    ],
)
def test_spearman(x, y, expected: float) -> None:
    assert spearman(x, y) == pytest.approx(expected)


def test_damaged_results_are_refused(tmp_path) -> None:
    path = tmp_path / "runs.csv"
    write_csv(path, [], TauRow)
    with pytest.raises(ValueError, match="must have the columns"):
        prediction_training.read_rows(path)
