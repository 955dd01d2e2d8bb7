"""What the benchmarks share: this machine, and ratios of times."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from absl import app

import tf_approxgrad as tfag

ROOT = Path(__file__).parents[1]
_SOURCES = ("cc/benchmarks/machine_limits.cc", "cc/kernels/instruction_set.cc")
_HEADERS = ("cc/kernels/instruction_set.h",)


@dataclasses.dataclass(frozen=True)
class Machine:
    """The machine that a benchmark ran on, and what it can do at most.

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


def measure_machine(threads: int) -> Machine:
    """Compiles and runs cc/benchmarks/machine_limits.cc.

    Raises:
      subprocess.CalledProcessError: If it doesn't compile or run.
    """
    program = ROOT / "build" / "benchmarks" / "machine_limits"
    newest = max((ROOT / name).stat().st_mtime for name in _SOURCES + _HEADERS)
    if not program.exists() or program.stat().st_mtime < newest:
        program.parent.mkdir(parents=True, exist_ok=True)
        # Half a program, left by an interrupted compiler, would look finished.
        unfinished = program.with_name(f"{program.name}.{os.getpid()}")
        subprocess.run([*compile_command(), "-o", str(unfinished)], check=True)
        os.replace(unfinished, program)
    output = subprocess.run(
        [program, str(threads)], check=True, capture_output=True, text=True
    )
    return Machine(
        cpu=_cpu_name(),
        tensorflow=tf.version.VERSION,
        tf_approxgrad=tfag.__version__,
        **json.loads(output.stdout),
    )


def compile_command() -> list[str]:
    """How machine_limits.cc is compiled, without its output."""
    compiler = shlex.split(os.environ.get("CXX") or "g++")
    sources = [str(ROOT / name) for name in _SOURCES]
    return [*compiler, *sources, "-std=c++17", "-O2", "-pthread", f"-I{ROOT}"]


def check_csv(path: str | None) -> None:
    """Refuses a file that can't be written, before minutes are spent on its rows."""
    if path and not Path(path).absolute().parent.is_dir():
        raise app.UsageError(f"--csv={path}: there is no such folder")


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def set_threads(threads: int) -> None:
    """Sets TensorFlow's threads; before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def median_ratio(numerators: Iterable[float], denominators: Iterable[float]) -> float:
    """The median of the ratios of neighbouring times."""
    pairs = zip(numerators, denominators, strict=True)
    return statistics.median(a / b for a, b in pairs)


def geometric_mean(ratios: Iterable[float]) -> float:
    """The geometric mean, NaN of nothing."""
    logarithms = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
    return math.exp(statistics.fmean(logarithms)) if logarithms else math.nan
