"""The machine that a benchmark runs on, and what it can do at most."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.utils.machine import cpu_name

ROOT = Path(__file__).parents[1]
_SOURCES = ("cc/benchmarks/machine_limits.cc", "cc/cpu/core/instruction_set.cc")


@dataclasses.dataclass(frozen=True)
class Machine:
    """What every row of results names.

    Attributes:
        cpu: The processor's name.
        threads: Threads of TensorFlow and of the limits.
        instruction_set: That of the kernels.
        bytes_per_second: Bytes read and written by a large copy.
        multiply_adds_per_second: Of a loop of float32 multiply-adds.
        tensorflow: TensorFlow's version.
        tf_approxgrad: This package's version.
    """

    cpu: str
    threads: int
    instruction_set: str
    bytes_per_second: float
    multiply_adds_per_second: float
    tensorflow: str
    tf_approxgrad: str

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.threads} threads, {self.instruction_set}; copy "
            f"{self.bytes_per_second / 1e9:.1f} GB/s, "
            f"{self.multiply_adds_per_second / 1e9:.0f} G multiply-adds/s"
        )


def measure_machine(threads: int) -> Machine:
    """Compiles and runs cc/benchmarks/machine_limits.cc.

    Raises:
        subprocess.CalledProcessError: If it doesn't compile or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "machine_limits")
        subprocess.run([*compile_command(), "-o", str(program)], check=True)
        output = subprocess.run(
            [program, str(threads)], check=True, capture_output=True, text=True
        )
    return Machine(
        cpu=cpu_name(),
        tensorflow=tf.version.VERSION,
        tf_approxgrad=tfag.__version__,
        **json.loads(output.stdout),
    )


def compile_command() -> list[str]:
    """How machine_limits.cc is compiled, without its output."""
    compiler = shlex.split(os.environ.get("CXX") or "g++")
    sources = [str(ROOT / name) for name in _SOURCES]
    return [*compiler, *sources, "-std=c++17", "-O2", "-pthread", f"-I{ROOT}"]


def set_threads(threads: int) -> None:
    """Sets TensorFlow's threads; before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
