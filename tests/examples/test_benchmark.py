"""The benchmark's arithmetic, and that it measures what it says."""

import csv
import math
import subprocess
import sys

import benchmark_filter_gradient as benchmark
import benchmark_step
import benchmark_switching
import pytest
import tensorflow as tf
from benchmark_shapes import SHAPES, Shape
from benchmarking import Machine, geometric_mean, median_ratio
from step_times import PairedTimes

import tf_approxgrad as tfag

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")
SMALL = Shape("small", 2, 3, 5, 4, filter=3, stride=2)


def test_ratio_is_the_median_of_pairs():
    assert median_ratio([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == 3.0


def test_geometric_mean_leaves_out_what_was_not_measured():
    assert geometric_mean([2.0, 8.0, math.nan]) == pytest.approx(4.0)
    assert math.isnan(geometric_mean([]))


def test_bound_is_the_larger_of_traffic_and_multiply_adds():
    # X 2*4*4*3, dY 2*2*2*5, dF 3*3*3*5 elements; 2*5 kept positions of 27 taps.
    elements = 96 + 40 + 135
    assert SMALL.bound_seconds(1, 4, MACHINE) == pytest.approx(elements * 4 / 1e9)
    slow = Machine("", 1, "", 1e12, 1e3, "", "")
    assert SMALL.bound_seconds(1, 4, slow) == pytest.approx(2 * 5 * 27 / 1e3)
    # No more positions can be kept than there are.
    assert SMALL.bound_seconds(9, 4, slow) == pytest.approx(4 * 2 * 5 * 27 / 1e3)


def test_shapes_are_those_of_the_paper_and_of_resnet50():
    assert len(SHAPES) == 8 + 4 + 3 + 9 + 1
    paper = [shape.paper for shape in SHAPES if shape.group == "table 1"]
    assert geometric_mean(paper) == pytest.approx(3.3, abs=0.1)
    assert SMALL.out_size == 2
    assert SMALL.dense_work == 2 * 2 * 2 * 27 * 5


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_every_method_computes_the_gradient_as_often_as_asked(data_format):
    shape = Shape("small", 2, 3, 5, 4)
    functions = benchmark.make_functions(shape, 2, "float32", data_format, 3)
    del functions["dense" if data_format == "NCHW" else "zero"]
    for name, function in functions.items():
        results = function()
        assert [result.shape for result in results] == [()] * 3
        if name not in ("random", "sampled", "rows"):
            # What is drawn differs each time.
            assert len({float(result) for result in results}) == 1


@pytest.mark.slow
def test_program_prints_means_and_writes_the_machine_beside_the_rows(tmp_path):
    target = tmp_path / "rows.csv"
    finished = subprocess.run(
        [
            *(sys.executable, benchmark.__file__, "--rounds=1", "--threads=1"),
            *("--shapes=64->64 1x1", f"--csv={target}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "ResNet-50 1x1: geometric means max" in finished.stdout
    with target.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["shape"] == "32x56x56 64->64 1x1/1"
    assert row["threads"] == "1"
    assert float(row["max_ratio"]) > 0
    assert row["tensorflow"] == tf.version.VERSION


def test_share_kept_is_of_the_time_that_zero_saves():
    times = PairedTimes(["full", "zero", "max"], 1, 0)
    for _ in range(5):
        times.add({"full": 1.0, "zero": 0.8, "max": 0.85})
    row = benchmark_step.Row.from_times("resnet20", "1", times)
    assert row.full_ms == pytest.approx(1000)
    assert row.zero_ratio == pytest.approx(1.25)
    assert row.max_ratio == pytest.approx(1 / 0.85)
    assert row.share_kept == pytest.approx(75)


@pytest.mark.parametrize(
    ("name", "layers"), [("1", [2, 6]), ("all_but_first", [2, 3, 4, 5, 6, 7])]
)
def test_schedules_of_the_steps_approximate_these_layers(name, layers):
    schedule = benchmark_step.make_schedule(name, "max", 7)
    full = tfag.FullGradient()
    assert [i for i in range(1, 8) if schedule(i, 0) != full] == layers


def test_steps_of_all_methods_are_timed():
    row = benchmark_step.measure("cnn2", "2", batch=4, width=0.1, steps=4)
    assert min(row.full_ms, row.zero_ms, row.max_ms) > 0
    assert benchmark_step.format_row(row).split()[:2] == ["cnn2", "2"]


def test_steps_that_switch_and_steps_that_do_not_are_timed():
    cost = benchmark_switching.measure("max", 3, channels=2, size=6, batch=4, steps=4)
    assert min(cost.fixed_ms, cost.switching_ms) > 0
    assert math.isfinite(cost.percent)
