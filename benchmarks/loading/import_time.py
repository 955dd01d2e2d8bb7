r"""Times what importing the package adds to importing TensorFlow and Keras.

    python -m benchmarks.loading.import_time --python=.nox/ENVIRONMENT/bin/python

Programs of one line take turns, in processes of their own and outside the checkout,
with the interpreter of an environment that has the package.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import at_least, make_parser, new_file
from benchmarks.machine import Machine, measure_machine
from benchmarks.rows import write_csv

_PROGRAMS = {
    "without": "import tensorflow, keras",
    "with": "import tensorflow, keras, tf_approxgrad",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured.

    Attributes:
        without_ms: Median time of a process that imports TensorFlow and Keras.
        with_ms: The same with this package.
        added_ms: Median of the differences of neighbouring processes.
        added_low_ms: Their first quartile.
        added_high_ms: Their third.
        rounds: Processes of each.
    """

    without_ms: float
    with_ms: float
    added_ms: float
    added_low_ms: float
    added_high_ms: float
    rounds: int


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""


def measure(python: str, rounds: int) -> Row:
    """Starts each program `rounds` times, and once before, for the disk's cache."""
    times: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            names = list(_PROGRAMS)
            for name in names[::-1] if turn % 2 else names:
                start = time.perf_counter()
                subprocess.run(
                    [python, "-c", _PROGRAMS[name]],
                    cwd=folder,
                    check=True,
                    stderr=subprocess.DEVNULL,
                )
                times[name].append(1e3 * (time.perf_counter() - start))
    without, with_it = (values[1:] for values in times.values())
    added = [b - a for a, b in zip(without, with_it, strict=True)]
    low, middle, high = statistics.quantiles(added, n=4)
    medians = statistics.median(without), statistics.median(with_it)
    return Row(*medians, middle, low, high, rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--python", default=sys.executable, help="interpreter; by default this one")
    add("--rounds", type=at_least(2), default=15, help="processes of each program")
    add("--csv", type=new_file, help="file of the results")
    args = parser.parse_args(arguments)
    row = measure(str(Path(args.python).absolute()), args.rounds)
    print(
        f"import: {row.without_ms:.0f} ms, with tf_approxgrad {row.with_ms:.0f} ms; it "
        f"adds {row.added_ms:.0f} ms (quartiles {row.added_low_ms:.0f} to "
        f"{row.added_high_ms:.0f}, {row.rounds} pairs)"
    )
    if args.csv:
        machine = dataclasses.asdict(measure_machine(threads=1))
        write_csv(args.csv, [CsvRow(**machine, **dataclasses.asdict(row))], CsvRow)


if __name__ == "__main__":
    main()
