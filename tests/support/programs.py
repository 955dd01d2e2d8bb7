"""Programs run in other processes, since threads and instructions are set but once."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_TESTS = Path(__file__).parents[1]
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")

_START = """
import hashlib, sys
import tensorflow as tf
if len(sys.argv) > 1:
    tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))

def show(array):
    print(hashlib.sha256(array.tobytes()).hexdigest())
"""


def run_programs(
    program: str, runs: Iterable[tuple[list[str], Mapping[str, str]]]
) -> list[list[str]]:
    """Runs a Python program several times at once.

    Args:
        program: Its text. It has `tf`, and `show`, which prints a digest of an array,
          and can import what tests can, and the tests of ops.
        runs: For each run its arguments, the first of which is the number of threads,
          and variables of the environment that differ from this process's.

    Returns:
        The words that each run prints.
    """
    folders = [*filter(None, sys.path), str(_TESTS / "ops")]
    path = {"PYTHONPATH": os.pathsep.join(folders)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _START + program, *arguments],
            env={**os.environ, **path, **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        for arguments, variables in runs
    ]
    printed = [run.communicate()[0].split() for run in started]
    assert [run.returncode for run in started] == [0] * len(started)
    return printed


def with_threads(program: str, *counts: int) -> list[list[str]]:
    """What a program prints with each number of threads; see `run_programs`."""
    return run_programs(program, [([str(count)], {}) for count in counts])


def with_instruction_sets(program: str, *arguments: str) -> list[list[str]]:
    """What a program prints with each instruction set; see `run_programs`.

    A set that this processor lacks isn't used, as documented.
    """
    variable = "TF_APPROXGRAD_INSTRUCTION_SET"
    runs = [([*arguments], {variable: name}) for name in INSTRUCTION_SETS]
    return run_programs(program, runs)
