"""The tables of the pages are those of benchmarks/results."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import doctests
import frontier
import gains
import generate
import kernels
import predictions
import pytest
import smaller_batch
import tables
from pages import ROOT

from benchmarks.frontier.points import Accuracy, StepTime
from benchmarks.planning.prediction_runs import Run
from benchmarks.rows import write_csv

PROGRAM = ROOT / "docs" / "figures" / "generate.py"


def test_no_page_is_stale() -> None:
    assert generate.stale() == []
    command = [sys.executable, PROGRAM, "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def write(folder: Path, name: str, lines: list[str]) -> None:
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of three settings of a network, and what a step gains."""
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    accuracies = {
        "full": (0.90, 0.92, 0.91),
        "zero@all-but-first": (0.80, 0.81, 0.82),
        "max:k=4:scale=1.0@constant:layers=2-4": (0.91, 0.92, 0.90),
    }
    runs = [
        Accuracy(setting, seed, 0.3, value, value - 0.01, 60.0)
        for setting, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    times = [
        StepTime("net", 128, 1.0, setting, 100.0, 100 / faster, *[faster] * 3, 40)
        for setting, faster in zip(list(accuracies)[1:], (1.5, 1.25), strict=True)
    ]
    write_csv(tmp_path / "frontier_net.csv", runs, Accuracy)
    write_csv(tmp_path / "frontier_net_times.csv", times, StepTime)
    return tmp_path


@pytest.mark.usefixtures("results")
def test_frontier_compares_runs_of_the_same_seed() -> None:
    lines = frontier.frontier("net").splitlines()
    assert lines[2:] == [
        "| `full` |  | 3 | 90.00 ± 1.00 |  | 1.00x |",
        "| `zero` | all but 1 | 3 | 80.00 ± 1.00 | -10.00 ± 1.00 | 1.50x |",
        "| `max` k=4, scale=1.0 | 2-4 | 3 | 90.00 ± 1.00 | +0.00 ± 1.00 | 1.25x |",
    ]


@pytest.mark.usefixtures("results")
def test_choice_is_the_fastest_that_loses_little_on_images_held_out() -> None:
    assert "`max` with k=4, scale=1.0 on layers 2-4" in " ".join(
        frontier.choice("net").split()
    )


def test_kernel_speed_is_a_geometric_mean_and_the_slowest(results: Path) -> None:
    header = "group,max_ratio"
    for suffix, factor in (("k1", 1), ("k4", 2)):
        rows = [
            f"table 1,{2 * factor}",
            f"table 1,{8 * factor}",
            f"ResNet-50 1x1,{3 * factor}",
            f"ResNet-50 3x3,{5 * factor}",
        ]
        write(results, f"filter_gradient_{suffix}", [header, *rows])
    lines = kernels.kernel_speed("max").splitlines()
    assert lines[2] == "| `k=1` | 4.0x | 2.0x | 3.0x | 5.0x |"
    assert lines[3] == "| `k=4` | 8.0x | 4.0x | 6.0x | 10.0x |"


def test_both_weightings_of_a_net_gain_share_a_row(results: Path) -> None:
    columns = [
        f"{name}_{end}"
        for name in ("speed_up", "tau", "net")
        for end in ("low", "high")
    ]
    header = ",".join(["network,epoch,method,weighting", *columns])
    rows = ["net,1,half,all,1.2,1.2,0.1,0.1,1.09,1.09", "net,1,half,mean,,,0.5,0.5,,"]
    write(results, "net_gain", [header, *rows])
    (row,) = gains.net_gains()
    assert (row["speed_up"], row["tau"], row["net"]) == (
        "1.2",
        "0.1 / 0.5",
        "1.09 / 0.80",
    )


def test_realised_gain_is_against_exact_training_to_the_same_loss(
    results: Path,
) -> None:
    columns = "batch,method,share,probability,keep_largest,gradients"
    rows = [
        "64,full,,,,,0.3,100,False",
        "128,full,,,,,0.2,200,False",
        "128,full,,,,,0.21,,",
        "128,row-sampled,1/2,norm,False,filter,0.25,120,False",
        "128,row-sampled,1/4,norm,False,filter,0.25,120,True",
        "128,row-sampled,1/8,norm,False,filter,0.31,120,False",
    ]
    header = f"{columns},loss_quarter_4,seconds,disturbed"
    write(results, "smaller_batch_resnet18", [header, *rows])
    runs = tables.read("smaller_batch_resnet18")
    realised = [smaller_batch.realised_gain(run) for run in runs]
    assert realised == ["", "", "", "1.25", "", ""]


def test_predictions_keep_biased_runs_apart(results: Path) -> None:
    def run(setting: str, seed: int, is_biased: bool, loss: float) -> Run:
        return Run(
            network="cnn2",
            width=0.5,
            images=1000,
            steps=300,
            batch=128,
            setting=setting,
            seed=seed,
            is_biased=is_biased,
            tau=0.5,
            tau_of_sums=0.5,
            noise_batch=100.0,
            losses="",
            loss=loss,
            accuracy=0.9,
            predicted_loss=0.4,
            lost_loss=loss - 0.3,
            predicted_lost_loss=0.1,
            lost_accuracy=0.02,
            predicted_lost_accuracy=0.015,
        )

    rows = [
        run("sampled:k=0.1@constant", 0, False, 0.39),
        run("sampled:k=0.1@constant", 1, False, 0.45),
        run("max:k=4:scale=1.0@constant", 0, True, 0.8),
        dataclasses.replace(
            run("zero@schedule1", 0, True, 0.9), predicted_loss=math.nan
        ),
        run("full", 0, False, 0.3),
    ]
    write_csv(results / "predictions.csv", rows, Run)
    assert predictions.predictions().splitlines()[2:] == [
        "| 2-layer CNN, width 0.5, unbiased | 2 | 2 | 1 of 2 |  |  |  |",
        "| all, unbiased | 2 | 2 | 1 of 2 |  |  |  |",
        "| 2-layer CNN, width 0.5, biased | 2 | 1 | 0 of 1 |  |  |  |",
        "| all, biased | 2 | 1 | 0 of 1 |  |  |  |",
    ]
    claim = predictions.prediction_claim("biased").replace("\n", " ")
    assert "Of 2 runs with biased methods on 1 networks, the exact runs reach 1." in (
        claim
    )
    lines = predictions.predicted_settings("unbiased").splitlines()[2:]
    name = "2-layer CNN, width 0.5"
    assert lines == [
        f"| {name} | `sampled k=0.1` | 2 | 0.500 | 0.400 | 0.420 | 1.5 | 2.0 |"
    ]
    lines = predictions.predicted_settings("biased").splitlines()[2:]
    assert lines == [
        f"| {name} | `max k=4` | 1 | 0.500 | 0.400 | 0.800 | 1.5 | 2.0 |",
        f"| {name} | `zero@schedule1` | 1 | 0.500 |  | 0.900 | 1.5 | 2.0 |",
    ]


def test_only_what_lies_between_markers_is_replaced() -> None:
    page = "before\n<!-- table: {} -->\nold\n<!-- end of table -->\nafter\n"
    rendered = generate.render(page.format("claim"))
    assert rendered == page.format("claim").replace("old", gains.claim())
    assert generate.render(rendered) == rendered
    with pytest.raises(ValueError, match="'nothing' must be one of"):
        generate.render(page.format("nothing"))
    with pytest.raises(ValueError, match="has no <!-- end of table -->"):
        generate.render(page.format("claim").replace("<!-- end of table -->", ""))


def test_doctests_of_a_docstring_are_fenced() -> None:
    doctest, arguments = ">>> f(1)\n[1,\n 2]\n>>> g()\n", "\nArgs:\n    x: a number."
    fenced = f"```pycon\n{doctest}```\n"
    text = f"Example:\n\n{doctest}{arguments}"
    assert doctests.fence(text) == f"Example:\n\n{fenced}{arguments}"
