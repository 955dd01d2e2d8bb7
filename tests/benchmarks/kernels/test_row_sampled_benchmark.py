"""The benchmark of the row-sampled method as plans use it."""

import pytest

from benchmarks.kernels import row_sampled
from benchmarks.kernels.shapes import Shape
from benchmarks.machine import Machine
from benchmarks.rows import read_csv

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_shares_are_timed(tmp_path, monkeypatch, capsys, dtype):
    shapes = (Shape("table 1", 4, 16, 8, 8), Shape("strided", 2, 4, 4, 8, 1, 2))
    monkeypatch.setattr(row_sampled, "SHAPES", shapes)
    monkeypatch.setattr(row_sampled, "RESNET18_HALF", ())
    monkeypatch.setattr(row_sampled, "repeats_of", lambda shape: 2)
    monkeypatch.setattr(row_sampled, "set_threads", lambda threads: None)
    monkeypatch.setattr(row_sampled, "measure_machine", lambda threads: MACHINE)
    path = tmp_path / "rows.csv"
    row_sampled.main(["--rounds=2", f"--csv={path}", f"--dtype={dtype}"])
    rows = read_csv(path, row_sampled.CsvRow)
    assert [(row.group, row.share) for row in rows] == [
        ("table 1", 0.5),
        ("table 1", 0.25),
        ("strided", 0.5),
        ("strided", 0.25),
    ]
    assert {row.dtype for row in rows} == {dtype}
    assert all(min(row.dense_ms, row.rows_ms, row.ratio) > 0 for row in rows)
    assert "strided, share 0.25: geometric mean" in capsys.readouterr().out


def test_shapes_that_are_none_are_refused():
    with pytest.raises(SystemExit):
        row_sampled.main(["--shapes=nothing like that"])
