"""The example that compares methods writes what it says."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "fidelity.py"


@pytest.mark.parametrize(
    ("gradient", "title"),
    [
        ("filter", "filter gradients"),
        pytest.param(
            "propagated",
            "filter gradients behind approximate input gradients",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_program_compares_methods_before_and_after_training(gradient, title, tmp_path):
    command = [
        *(sys.executable, PROGRAM, "--limit=20", "--batch=10", "--epochs=1"),
        *("--repeats=1", f"--gradient={gradient}", f"--output={tmp_path}"),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count(f"Fidelity of {title} of model") == 2
    tables = []
    for name in ("before", "after"):
        assert (tmp_path / f"{name}.png").stat().st_size > 0
        with open(tmp_path / f"{name}.csv", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    for table in tables:
        assert {row["gradient"] for row in table} == {gradient}
        methods = [row["method"] for row in table][:9]
        assert methods[:4] == [
            "zero",
            "random",
            "max(scale=1.0)",
            "max(k=4, scale=1.0)",
        ]
        assert methods[-1] == "row-sampled(share=0.25)"
        assert len({row["layer"] for row in table}) == len(table) / 9 == 7
    assert [row["cosine"] for row in tables[0]] != [row["cosine"] for row in tables[1]]


def test_depth_that_no_resnet_has_is_refused_before_any_work(tmp_path):
    command = [sys.executable, PROGRAM, "--depth=9", f"--output={tmp_path / 'new'}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "depth=9: must be 8, 14, 20 or another" in finished.stderr
    assert not (tmp_path / "new").exists()
