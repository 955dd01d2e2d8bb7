"""The benchmark of single exact gradients."""

import pytest

from benchmarks.kernels import exact_gradients
from benchmarks.kernels.shapes import Shape
from benchmarks.machine import Machine
from benchmarks.rows import read_csv

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")


def test_both_gradients_are_timed_and_compared(tmp_path, monkeypatch, capsys):
    shapes = (Shape("table 1", 4, 16, 16, 8), Shape("table 1", 2, 4, 4, 8))
    monkeypatch.setattr(exact_gradients, "SHAPES", (*shapes, Shape("", 1, 1, 1, 1, 1)))
    monkeypatch.setattr(exact_gradients, "repeats_of", lambda shape: 2)
    monkeypatch.setattr(exact_gradients, "set_threads", lambda threads: None)
    monkeypatch.setattr(exact_gradients, "measure_machine", lambda threads: MACHINE)
    path = tmp_path / "rows.csv"
    exact_gradients.main(["--rounds=2", f"--csv={path}"])
    rows = read_csv(path, exact_gradients.CsvRow)
    assert [(row.gradient, row.kernel) for row in rows] == [
        ("filter", "winograd"),
        ("filter", "dense"),
        ("input", "winograd"),
        ("input", "dense"),
    ]
    for row in rows:
        assert min(row.dense_ms, row.exact_ms, row.ratio) > 0
        assert 0 < row.dense_error < 1e-6
        assert 0 < row.exact_error < 3e-6
    assert "table 1, input gradient: geometric mean" in capsys.readouterr().out


def test_shapes_that_are_none_are_refused():
    with pytest.raises(SystemExit):
        exact_gradients.main(["--shapes=nothing like that"])
