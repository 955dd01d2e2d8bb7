r"""Times what importing the package adds to importing TensorFlow and Keras.

    python -m benchmarks.loading.import_time --python=.nox/ENVIRONMENT/bin/python

Each round is a process outside the checkout, with the interpreter of an environment
that has the package: it imports TensorFlow and Keras, and then this package.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import at_least, make_parser, new_file
from benchmarks.rows import write_csv
from tf_approxgrad.utils.machine import cpu_name

_PROGRAM = """
import json, platform, time
times = [time.perf_counter()]
import tensorflow, keras
times.append(time.perf_counter())
import tf_approxgrad
times.append(time.perf_counter())
print(json.dumps({
    "python": platform.python_version(),
    "tensorflow": tensorflow.version.VERSION,
    "keras": keras.__version__,
    "tf_approxgrad": tf_approxgrad.__version__,
    "times": times,
}))
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured.

    Attributes:
        cpu: The processor.
        python: Version of the interpreter that imports.
        tensorflow: TensorFlow's version there.
        keras: Keras' version there.
        tf_approxgrad: This package's version there.
        before_ms: Median time of importing TensorFlow and Keras.
        added_ms: Median time of importing this package after them.
        added_low_ms: First quartile of that.
        added_high_ms: Third quartile.
        rounds: Number of processes.
    """

    cpu: str
    python: str
    tensorflow: str
    keras: str
    tf_approxgrad: str
    before_ms: float
    added_ms: float
    added_low_ms: float
    added_high_ms: float
    rounds: int


def measure(python: str, rounds: int) -> Row:
    """Starts `rounds` processes, and one before, for the disk's cache."""
    before, added = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):
            result = subprocess.run(
                [python, "-c", _PROGRAM],
                cwd=folder,
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            found = json.loads(result.stdout.splitlines()[-1])
            start, middle, end = found.pop("times")
            before.append(1e3 * (middle - start))
            added.append(1e3 * (end - middle))
    low, median, high = statistics.quantiles(added[1:], n=4)
    times = [statistics.median(before[1:]), median, low, high]
    return Row(cpu_name(), *found.values(), *(round(t, 1) for t in times), rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--python", default=sys.executable, help="interpreter; by default this one")
    add("--rounds", type=at_least(2), default=15, help="processes")
    add("--csv", type=new_file, help="file of the results")
    args = parser.parse_args(arguments)
    row = measure(str(Path(args.python).absolute()), args.rounds)
    print(
        f"TensorFlow {row.tensorflow} and Keras {row.keras}: {row.before_ms:.0f} ms; "
        f"tf_approxgrad adds {row.added_ms:.0f} ms (quartiles {row.added_low_ms:.0f} "
        f"to {row.added_high_ms:.0f}, {row.rounds} processes)"
    )
    if args.csv:
        write_csv(args.csv, [row], Row)


if __name__ == "__main__":
    main()
