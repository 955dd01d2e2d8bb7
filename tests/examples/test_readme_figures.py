"""What README.md says of methods is what was measured: benchmarks/results."""

import csv
import re
import statistics
from collections.abc import Iterable
from pathlib import Path

import frontier_report
import pytest
from benchmark_filter_gradient import CsvRow
from benchmarking import geometric_mean
from frontier_runs import AccuracyRow
from frontier_settings import default_names
from frontier_times import TimeRow
from results import read_csv

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text()
SECTION = README.split("## Choose a method\n", 1)[1].split("\n## ", 1)[0]
WORDS = " ".join(SECTION.split())


def points(model: str) -> list[frontier_report.Point]:
    rows = read_csv(RESULTS / f"frontier_{model}.csv", AccuracyRow)
    times = read_csv(RESULTS / f"frontier_{model}_times.csv", TimeRow)
    return frontier_report.summarise(rows, times, default_names(model))


def lost(setting: str, model: str = "resnet20") -> str:
    (mean,) = (x.test_lost.mean for x in points(model) if x.setting == setting)
    # Plus zero, so that none is "-0.0".
    return f"{round(mean, 1) + 0.0:.1f}"


def times_as_fast(method: str, k: int) -> str:
    rows = read_csv(RESULTS / f"filter_gradient_k{k}.csv", CsvRow)
    ratios = [getattr(row, f"{method}_ratio") for row in rows if row.group == "table 1"]
    assert len(ratios) == 8
    return f"{geometric_mean(ratios):.1f}"


@pytest.mark.parametrize("model", ["resnet20", "cnn2"])
def test_the_frontier_s_table_is_that_of_the_rows(model: str) -> None:
    table = frontier_report.format_points(points(model))
    assert f"```text\n{table}\n```" in SECTION


def step_times_as_fast(setting: str, model: str) -> str:
    (row,) = (
        row
        for row in read_csv(RESULTS / f"frontier_{model}_times.csv", TimeRow)
        if row.setting == setting
    )
    return f"{row.faster:.2f}"


def test_the_first_page_says_what_a_whole_step_gains() -> None:
    eighth = "row-sampled:share=0.125@all-but-first"
    vgg19, resnet20 = (step_times_as_fast(eighth, x) for x in ("vgg19", "resnet20"))
    assert (
        f"a whole step of VGG-19 becomes {vgg19} times as fast, "
        f"of ResNet-20 {resnet20},"
    ) in " ".join(README.split())


def losses(model: str) -> str:
    sixteenth, eighth, quarter = (
        lost(f"row-sampled:share={share}@all-but-first", model)
        for share in ("0.0625", "0.125", "0.25")
    )
    return f"{sixteenth}, {eighth} and {quarter}"


def sentences() -> Iterable[str]:
    eighth = "row-sampled:share=0.125@all-but-first"
    resnet20, cnn2, vgg19 = (
        step_times_as_fast(eighth, model) for model in ("resnet20", "cnn2", "vgg19")
    )
    yield (
        f"At share 1/8 it is {times_as_fast('rows', 1)} times as fast, and the whole "
        f"step {resnet20} times with ResNet-20, {cnn2} with two convolutions and "
        f"{vgg19} with VGG-19"
    )
    yield (
        f"Shares 1/16, 1/8 and 1/4 lose {losses('resnet20')} points with ResNet-20 and "
        f"{losses('cnn2')} with two convolutions"
    )
    yield (
        f"{times_as_fast('sampled', 1)} times as fast at k = 1 and "
        f"{times_as_fast('sampled', 4)} at k = 4, more on large maps"
    )
    yield (
        f"{lost('sampled:k=1@all-but-first')} and "
        f"{lost('sampled:k=4@all-but-first')} points lost on all layers"
    )
    yield (
        f"{times_as_fast('max', 1)} times as fast at k = 1 and "
        f"{times_as_fast('max', 4)} at k = 4. What it leaves out"
    )
    yield (
        f"loses {lost('max:k=1@all-but-first')} points on all layers but the first, "
        f"and {lost('max:k=1@schedule1')} by schedule 1"
    )
    yield f"initialized to, it loses {lost('zero@schedule1')} points"
    yield f"on all layers but the first it loses {lost('zero@all-but-first')}."


@pytest.mark.parametrize("sentence", [*sentences()])
def test_figures_are_those_of_the_rows(sentence: str) -> None:
    assert sentence in WORDS


def of_layers(method: str, column: str) -> str:
    """A method's median over the layers but the first, after an epoch."""
    with (RESULTS / "fidelity_resnet20_after.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == method]
    assert len(rows) == 19
    return f"{statistics.median(float(row[column]) for row in rows[1:]):.2f}"


def test_cosines_and_biases_are_those_of_the_fidelity_table() -> None:
    rows = ["row-sampled(share=0.0625)", "row-sampled", "row-sampled(share=0.25)"]
    most = ["max(scale=1.0)", "max(k=4, scale=1.0)"]
    low, middle, high = (of_layers(method, "cosine") for method in rows)
    noisy = [of_layers(method, "cosine") for method in ("sampled", "sampled(k=4)")]
    steady = [of_layers(method, "cosine") for method in most]
    biases = [of_layers(method, "bias") for method in most]
    assert f"is {low}, {middle} and {high} for `row-sampled` with" in WORDS
    assert f"{' and '.join(noisy)} for `sampled` with k = 1 and 4" in WORDS
    assert f"and {' and '.join(steady)} for `max`" in WORDS
    assert (
        f"the bias of `max` is {' and '.join(biases)} times the gradient's norm"
        in WORDS
    )
    assert all(float(of_layers(x, "bias")) < 0.2 for x in (*rows, "sampled"))


def gpu_times_as_fast(arithmetic: str) -> str:
    path = RESULTS / "gpu_filter_gradient_max_k1.csv"
    with path.open(newline="") as file:
        ratios = [
            float(row["ratio"])
            for row in csv.DictReader(file)
            if row["layout"] == "NHWC"
            and row["arithmetic"] == arithmetic
            and row["batch"] == "128"
        ]
    assert len(ratios) == 8
    return f"{geometric_mean(ratios):.1f}"


def test_figures_of_a_gpu_are_those_of_the_rows() -> None:
    assert (
        f"is {gpu_times_as_fast('float32')} times as fast as cuDNN's filter gradient "
        f"in float32, {gpu_times_as_fast('tf32')} times in TF32 and "
        f"{gpu_times_as_fast('bfloat16')} times in bfloat16"
    ) in " ".join(README.split())


def test_no_figure_is_left_unchecked() -> None:
    prose = re.sub(r"```.*?```", "", SECTION, flags=re.S)
    figures = re.findall(r"-?\d+\.\d\b", re.sub(r"`[^`]*`", "", prose))
    checked = [x for text in sentences() for x in re.findall(r"-?\d+\.\d\b", text)]
    assert figures == checked
