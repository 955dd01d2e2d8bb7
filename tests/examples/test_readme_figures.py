"""What README.md says of methods is what was measured: benchmarks/results."""

import csv
import re
import statistics
from collections.abc import Iterable

import frontier_report
import pytest
from benchmark_filter_gradient import CsvRow
from benchmarking import geometric_mean
from frontier_runs import AccuracyRow
from frontier_settings import default_names, split
from frontier_times import TimeRow
from pages import README, ROOT, section
from results import read_csv

RESULTS = ROOT / "benchmarks" / "results"
SECTION = section(README, "Choose a method")
WORDS = " ".join(SECTION.split())


def points(model: str) -> list[frontier_report.Point]:
    rows = read_csv(RESULTS / f"frontier_{model}.csv", AccuracyRow)
    times = read_csv(RESULTS / f"frontier_{model}_times.csv", TimeRow)
    return frontier_report.summarise(rows, times, default_names(model))


def lost(setting: str, model: str = "resnet20") -> str:
    (mean,) = (x.test_lost.mean for x in points(model) if x.setting == setting)
    # Plus zero, so that none is "-0.0".
    return f"{round(mean, 1) + 0.0:.1f}"


def fidelity_rows(model: str, method: str) -> list[dict[str, str]]:
    """A method's rows, one for each layer but the first, after some training."""
    path = RESULTS / f"fidelity_{model}_after.csv"
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == method]
    assert len(rows) == {"resnet20": 19, "vgg19": 16}[model]
    return rows[1:]


def of_layers(method: str, column: str, model: str = "resnet20") -> float:
    rows = fidelity_rows(model, method)
    return statistics.median(float(row[column]) for row in rows)


def table_1(method: str, k: int) -> list[float]:
    rows = read_csv(RESULTS / f"filter_gradient_k{k}.csv", CsvRow)
    ratios = [getattr(row, f"{method}_ratio") for row in rows if row.group == "table 1"]
    assert len(ratios) == 8
    return ratios


def times_as_fast(method: str, k: int) -> str:
    return f"{geometric_mean(table_1(method, k)):.1f}"


@pytest.mark.parametrize("model", ["resnet20", "cnn2", "vgg19"])
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
    sixteenth = "row-sampled:share=0.0625@all-but-first"
    assert (
        "with share 1/16, on every layer of ResNet-20 but the first, makes a whole "
        f"step {step_times_as_fast(sixteenth, 'resnet20')} times as fast and loses "
        f"{lost(sixteenth)} points of test accuracy"
    ) in " ".join(README.split())


def losses(model: str) -> str:
    sixteenth, eighth, quarter = (
        lost(f"row-sampled:share={share}@all-but-first", model)
        for share in ("0.0625", "0.125", "0.25")
    )
    return f"{sixteenth}, {eighth} and {quarter}"


def seeds_of(setting: str) -> list[float]:
    """The points lost by each seed on ResNet-20."""
    rows = read_csv(RESULTS / "frontier_resnet20.csv", AccuracyRow)
    full = {x.seed: x.test_accuracy for x in rows if x.setting == "full"}
    return [
        100 * (full[x.seed] - x.test_accuracy) for x in rows if x.setting == setting
    ]


def sentences() -> Iterable[str]:
    eighth = "row-sampled:share=0.125@all-but-first"
    yield f"the first loses {lost(eighth, 'vgg19')} points. Over those layers"
    yield (
        f"the median variance is {of_layers('row-sampled', 'variance', 'vgg19'):.1f} "
        "times the square of the gradient's norm, and "
        f"{of_layers('row-sampled', 'variance'):.1f} with ResNet-20 after an epoch"
    )
    groups = {
        len(split(x.setting)): x.test_lost.mean
        for x in points("vgg19")
        if "sampled:k=4@" in x.setting
    }
    yield f"small ones, loses {groups[3]:.1f} points, and {groups[4]:.1f} if layers"
    both = (
        "row-sampled:share=0.25@constant:layers=2,3,4+sampled:k=4@constant:layers=13-16"
    )
    yield (
        "beside the choice a step is "
        f"{step_times_as_fast(both, 'vgg19')} times as fast. `Combined`"
    )
    yield (
        f"At share 1/8 it is {times_as_fast('rows', 1)} times as fast, "
        f"{min(table_1('rows', 1)):.1f} times on the worst shape, 16 channels on 32x32"
    )
    yield (
        f"Shares 1/16, 1/8 and 1/4 lose {losses('resnet20')} points with ResNet-20; of "
        f"the {lost(eighth)} one seed has {max(seeds_of(eighth)):.1f}"
    )
    yield (
        f"{times_as_fast('sampled', 1)} times as fast at k = 1 and "
        f"{times_as_fast('sampled', 4)} at k = 4. Each output channel"
    )
    yield (
        f"{lost('sampled:k=1@all-but-first')} and "
        f"{lost('sampled:k=4@all-but-first')} points lost on all layers"
    )
    few = [
        statistics.median(
            float(row["cosine"])
            for row in fidelity_rows("vgg19", method)
            if row["layer"].startswith("block4")
        )
        for method in ("sampled(k=4)", "row-sampled")
    ]
    yield (
        f"VGG-19's maps of 4x4 the median cosine is {few[0]:.2f} with k = 4, and "
        f"{few[1]:.2f} for `row-sampled` with share 1/8"
    )
    (tiny,) = (
        row.sampled_ratio
        for row in read_csv(RESULTS / "filter_gradient_k4.csv", CsvRow)
        if row.shape.startswith("128x2x2 512->512")
    )
    yield f"on 512 channels of 2x2 still {tiny:.1f} times as fast with k = 4"
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
    (smaller,) = (x.faster for x in points("resnet20") if x.setting == "resnet14")
    yield (
        f"{smaller:.2f} times, and loses {lost('resnet14')} points, the three seeds "
        f"between {min(seeds_of('resnet14')):.1f} and {max(seeds_of('resnet14')):.1f}"
    )
    rows = ["row-sampled(share=0.0625)", "row-sampled", "row-sampled(share=0.25)"]
    low, middle, high = (f"{of_layers(x, 'cosine'):.2f}" for x in rows)
    yield f"is {low}, {middle} and {high} for `row-sampled` with"
    noisy = [f"{of_layers(x, 'cosine'):.2f}" for x in ("sampled", "sampled(k=4)")]
    yield f"{' and '.join(noisy)} for `sampled` with k = 1 and 4"
    most = ["max(scale=1.0)", "max(k=4, scale=1.0)"]
    steady = " and ".join(f"{of_layers(x, 'cosine'):.2f}" for x in most)
    yield f"and {steady} for `max`"
    biases = " and ".join(f"{of_layers(x, 'bias'):.2f}" for x in most)
    yield f"the bias of `max` is {biases} times the gradient's norm"


@pytest.mark.parametrize("sentence", [*sentences()])
def test_figures_are_those_of_the_rows(sentence: str) -> None:
    assert sentence in WORDS


def test_methods_that_are_called_unbiased_are_so_in_the_fidelity_table() -> None:
    shares = [f"row-sampled{share}" for share in ("(share=0.0625)", "", "(share=0.25)")]
    assert all(of_layers(x, "bias") < 0.2 for x in (*shares, "sampled"))


def rows_against_the_bars() -> Iterable[str]:
    for method, k in (("max", 1), ("max", 4), ("sampled", 1), ("sampled", 4)):
        name = f"{method}, k = {k}, {'Table 1, ' if (method, k) == ('max', 1) else ''}"
        yield f"| {name}geometric mean | BAR | {times_as_fast(method, k)} |"
    yield f"| the worst shape | 4 | {min(table_1('max', 1)):.1f} |"
    rows = times_as_fast("rows", 1)
    yield f"| row-sampled, share 1/8, geometric mean | BAR | {rows} |"
    yield f"| the worst shape | 2 | {min(table_1('rows', 1)):.1f} |"
    yield f"| random, geometric mean | BAR | {times_as_fast('random', 1)} |"
    ratios = [
        row.max_ratio
        for row in read_csv(RESULTS / "filter_gradient_k1.csv", CsvRow)
        if row.group == "ResNet-50 3x3"
    ]
    yield f"| max, k = 1, ResNet-50's 3x3 | BAR | {geometric_mean(ratios):.1f} |"
    for start, setting in (
        ("a step of ResNet-20, max on all but the first layer", "max:k=1"),
        (
            "the same, a method that loses at most 0.5 points",
            "row-sampled:share=0.0625",
        ),
    ):
        faster = step_times_as_fast(f"{setting}@all-but-first", "resnet20")
        yield f"| {start} | BAR | {faster} |"


@pytest.mark.parametrize("row", [*rows_against_the_bars()])
def test_the_kernels_notes_say_what_was_measured_against_the_bars(row: str) -> None:
    notes = (ROOT / "cc" / "kernels" / "NOTES.md").read_text()
    assert re.search(re.escape(row).replace("BAR", r"[\d.]+"), notes)


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


@pytest.mark.parametrize("model", ["resnet20", "cnn2", "vgg19"])
def test_the_choice_is_that_of_the_images_held_out(model: str) -> None:
    best = frontier_report.choose_best(points(model), 3)
    assert frontier_report.format_choice(best) in WORDS


def test_no_figure_is_left_unchecked() -> None:
    prose = re.sub(r"```.*?```", "", SECTION, flags=re.S)
    prose = re.sub(r"Chosen on the images held out.*? as fast\.", "", prose, flags=re.S)
    number = r"-?\d+\.\d+\b"
    figures = re.findall(number, re.sub(r"`[^`]*`", "", prose))
    checked = [
        x
        for text in sentences()
        for x in re.findall(number, re.sub(r"`[^`]*`", "", text))
    ]
    assert figures == checked
