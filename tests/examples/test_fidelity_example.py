"""The example that compares methods writes what it says."""

import csv
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "examples" / "fidelity.py"


def test_program_compares_methods_before_and_after_training(tmp_path):
    command = [
        *(sys.executable, PROGRAM, "--limit=20", "--batch=10", "--epochs=1"),
        *("--repeats=1", f"--output={tmp_path}"),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("Fidelity of filter gradients of model") == 2
    tables = []
    for name in ("before", "after"):
        assert (tmp_path / f"{name}.png").stat().st_size > 0
        with open(tmp_path / f"{name}.csv", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    for table in tables:
        methods = ["zero", *(f"max({k}scale=1.0)" for k in ("", "k=4, ", "k=16, "))]
        assert [row["method"] for row in table][:4] == methods
        assert len({row["layer"] for row in table}) == len(table) / 4 == 7
    assert [row["cosine"] for row in tables[0]] != [row["cosine"] for row in tables[1]]
