"""The example for TensorBoard writes what it says."""

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "examples" / "summaries.py"
sys.path.insert(0, str(Path(__file__).parents[1]))


def test_program_switches_and_writes_methods_shares_and_fidelity(tmp_path):
    from event_files import read_events

    command = [
        *(sys.executable, PROGRAM, "--limit=60", "--batch=20", "--epochs=6"),
        *("--patience=1", "--update_freq=3", f"--output={tmp_path}"),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    said = re.search(
        r"Switch.*: val_accuracy has not improved .* full from step (\d+) on",
        finished.stdout,
    )
    end = int(said[1])
    assert "share_approximated: " in finished.stdout
    assert (tmp_path / "schedule.png").stat().st_size > 0
    events = read_events(tmp_path / "approximation")
    steps = [3, 6, 9, 12, 15, 18]
    for layer in ("conv1", "conv2"):
        assert [*events[f"{layer}/method"]] == steps
        assert [*events[f"{layer}/max/cosine"]] == steps
        assert all(-1 <= x <= 1 for x in events[f"{layer}/max/cosine"].values())
        followed = {
            step: "max" if step - 1 < end and step % 2 == 0 else "full"
            for step in steps
        }
        assert events[f"{layer}/method"] == followed
    # Step 1 is the one that is approximated of the first three.
    assert abs(events["share_approximated"][3] - 1 / 3) < 1e-6
