"""The example of a loop of one's own runs, follows its schedule and goes on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "custom_loop.py"


def run(*arguments):
    command = [sys.executable, PROGRAM, "--limit=200", "--batch=20", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_resumed_loop_prints_what_an_uninterrupted_one_does(tmp_path):
    whole = run("--epochs=3")
    assert [line.split(",")[0] for line in whole] == [
        "epoch 1: step 10",
        "epoch 2: step 20",
        "epoch 3: step 30",
    ]
    # Full in the first epoch; then the share grows.
    shares = [int(re.search(r"(\d+)% approx", line)[1]) for line in whole]
    assert shares[0] == 0 < shares[1] < shares[2]
    losses = [float(re.search(r"loss ([\d.]+)", line)[1]) for line in whole]
    assert losses[2] < losses[0]
    checkpoint = f"--checkpoint={tmp_path}"
    parts = [run("--epochs=1", checkpoint), run("--epochs=3", checkpoint)]
    assert parts[1][0] == "continues at step 10"
    assert parts[0] + parts[1][1:] == whole


@pytest.mark.slow
def test_loop_trains_compiled_by_xla():
    plain, compiled = run("--epochs=1"), run("--epochs=1", "--jit_compile")
    losses = [
        float(re.search(r"loss ([\d.]+)", lines[0])[1]) for lines in (plain, compiled)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=2e-3)
