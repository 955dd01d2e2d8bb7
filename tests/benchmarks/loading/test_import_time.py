"""The program that times imports."""

import sys
from pathlib import Path

import pytest

from benchmarks.loading import import_time
from benchmarks.machine import Machine
from benchmarks.rows import read_csv

MACHINE = Machine("a cpu", 1, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")


def test_added_time_is_that_between_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = {"without": "pass", "with": "import time; time.sleep(0.3)"}
    monkeypatch.setattr(import_time, "_PROGRAMS", programs)
    monkeypatch.setattr(import_time, "measure_machine", lambda threads: MACHINE)
    file = tmp_path / "rows.csv"
    import_time.main([f"--python={sys.executable}", "--rounds=2", f"--csv={file}"])
    (row,) = read_csv(file, import_time.CsvRow)
    assert row.rounds == 2
    assert row.added_ms > 200
    assert row.with_ms > row.without_ms


def test_program_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_time, "_PROGRAMS", {"with": "raise SystemExit(1)"})
    with pytest.raises(import_time.subprocess.CalledProcessError):
        import_time.measure(sys.executable, 2)
