"""The benchmark of the filter gradient: its arithmetic, and what it times."""

import math

import pytest

from benchmarks.kernels import filter_gradient
from benchmarks.kernels.filter_gradient import CsvRow, Options
from benchmarks.kernels.shapes import SHAPES, Shape
from benchmarks.machine import Machine
from benchmarks.paired_times import geometric_mean
from benchmarks.rows import read_csv

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")
SMALL = Shape("small", 2, 3, 5, 4, filter=3, stride=2)


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


@pytest.mark.parametrize(
    ("chosen", "count"),
    [("all", 25), ("table1", 8), ("resnet50", 17), ("1x1", 9), ("512->512", 4)],
)
def test_shapes_are_chosen_by_group_or_text(chosen, count):
    assert len(filter_gradient.choose_shapes(chosen)) == count


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_every_method_computes_the_gradient_as_often_as_asked(data_format):
    shape = Shape("small", 2, 3, 5, 4)
    options = Options(2, "float32", data_format)
    functions = filter_gradient.make_functions(shape, options, 3)
    # TensorFlow's exact gradient has no NCHW on the CPU.
    del functions["dense" if data_format == "NCHW" else "zero"]
    for name, function in functions.items():
        results = function()
        assert [result.shape for result in results] == [()] * 3
        if name not in ("random", "sampled", "rows"):
            # What is drawn differs each time.
            assert len({float(result) for result in results}) == 1


def test_group_line_has_geometric_means_and_the_worst():
    rows = [
        filter_gradient.Row(
            *("g", "a", 8.0, 2.0, max_ratio, 1.0, 2.0, 1.6, 5.0, 1.6, rows_ratio),
            *(0.1, 80.0, 0.1, 80.0, math.nan),
        )
        for max_ratio, rows_ratio in ((4.0, 5.0), (9.0, 0.2))
    ]
    assert filter_gradient.format_means("g", rows) == (
        "g: geometric means max 6.0x, sampled 5.0x, rows 1.0x, random 80.0x, "
        "zero 80.0x; worst max 4.0x, sampled 5.0x, rows 0.2x"
    )


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--shapes=9x9", "9x9 is in none of the shapes"),
        ("--csv=missing/rows.csv", "there is no such folder"),
        ("--k=0", "0 must be at least 1"),
    ],
)
def test_bad_arguments_are_refused_before_any_measurement(
    argument, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(filter_gradient, "measure_machine", None)
    with pytest.raises(SystemExit):
        filter_gradient.main([argument])
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_program_prints_means_and_writes_the_machine_beside_the_rows(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(filter_gradient, "SHAPES", [SMALL])
    monkeypatch.setattr(filter_gradient, "set_threads", lambda threads: None)
    monkeypatch.setattr(filter_gradient, "measure_machine", lambda threads: MACHINE)
    path = tmp_path / "rows.csv"
    filter_gradient.main(["--rounds=1", "--threads=1", f"--csv={path}"])
    assert "small: geometric means max" in capsys.readouterr().out
    (row,) = read_csv(path, CsvRow)
    assert (row.shape, row.cpu, row.k) == ("2x4x4 3->5 3x3/2", "a cpu", 1)
    assert row.dense_ms > 0
    # A single pair of times.
    assert row.max_ratio == pytest.approx(row.dense_ms / row.max_ms)
    bound_ms = 1e3 * SMALL.bound_seconds(1, 4, MACHINE)
    assert row.max_over_bound == pytest.approx(row.max_ms / bound_ms)
