"""The program that times imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.loading import import_time
from benchmarks.rows import read_csv

# Prints what the real one does, with times of its own.
PROGRAM = """
import json
names = ("python", "tensorflow", "keras", "tf_approxgrad")
print(json.dumps(dict.fromkeys(names, "1.0") | {"times": [5, 7, 7.25]}))
"""


def test_added_time_is_that_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_time, "_PROGRAM", PROGRAM)
    file = tmp_path / "rows.csv"
    import_time.main([f"--python={sys.executable}", "--rounds=2", f"--csv={file}"])
    (row,) = read_csv(file, import_time.Row)
    assert (row.before_ms, row.added_ms, row.rounds) == (2000, 250, 2)
    assert row.tensorflow == "1.0"


def test_program_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_time, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(subprocess.CalledProcessError):
        import_time.measure(sys.executable, 2)
