r"""Times the filter gradient of single convolutions, dense and approximate.

    python examples/benchmark_filter_gradient.py --csv=filter_gradient.csv

The shapes are those of the paper's Table 1, at batch 128, and of ResNet-50, at batch
32. All methods run through TensorFlow in one process and take turns, and a ratio is the
median of the ratios of neighbouring calls; "rows" is the row-sampled method. The bound
is the time that the machine needs if nothing helps: to read X and dY and to write dF
once, at the bandwidth of a copy, or to do the multiply-adds of the kept positions at
the rate of a loop of nothing else. What stays in the caches, or of X isn't among the
kept patches, takes less.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from absl import app, flags
from benchmark_shapes import SHAPES, Shape
from benchmarking import (
    Machine,
    check_csv,
    geometric_mean,
    measure_machine,
    median_ratio,
    set_threads,
)
from results import write_csv

import tf_approxgrad as tfag
from tf_approxgrad.utils.timing import time_in_turns

FLAGS = flags.FLAGS
# A call of less work than this is repeated inside the graph, as Python's own part of a
# call takes longer than it. In multiply-adds of the dense gradient.
_ENOUGH_WORK = 2e10
_MOST_REPEATS = 64
_GROUPS = {"all": "", "table1": "table 1", "resnet50": "ResNet-50"}


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a shape. Times are medians, ratios medians of pairs."""

    group: str
    shape: str
    dense_ms: float
    max_ms: float
    max_ratio: float
    bound_ms: float
    max_over_bound: float
    sampled_ms: float
    sampled_ratio: float
    rows_ms: float
    rows_ratio: float
    random_ms: float
    random_ratio: float
    zero_ms: float
    zero_ratio: float
    paper_ratio: float


def make_functions(
    shape: Shape, k: int, dtype: str, data_format: str, repeats: int
) -> dict[str, Callable[[], object]]:
    """A call for each method, which computes the gradient `repeats` times."""

    def random(size: int, channels: int) -> tf.Tensor:
        sizes = [size, size]
        axes = [*sizes, channels] if data_format == "NHWC" else [channels, *sizes]
        return tf.cast(tf.random.normal([shape.batch, *axes]), dtype)

    x = random(shape.size, shape.in_channels)
    dy = random(shape.out_size, shape.out_channels)
    # An argument of the function, so that no method is computed when it is traced.
    taps = [shape.filter, shape.filter]
    sizes = tf.constant([*taps, shape.in_channels, shape.out_channels])
    step = tf.constant(0, tf.int64)

    def make(method: tfag.GradientMethod) -> Callable[[], object]:
        @tf.function
        def gradients(
            x: tf.Tensor, sizes: tf.Tensor, dy: tf.Tensor, step: tf.Tensor
        ) -> list[tf.Tensor]:
            # An element of each is returned: a gradient that nobody reads isn't made,
            # and one that is kept takes new memory, where a training step uses that
            # of the last step again.
            elements: list[tf.Tensor] = []
            for number in range(repeats):
                # One after the other, so that none is taken for another's copy.
                with tf.control_dependencies(elements[-1:]):
                    gradient = tfag.conv2d_backprop_filter(
                        x,
                        sizes,
                        dy,
                        shape.stride,
                        "SAME",
                        data_format,
                        method=method,
                        step=step + number,
                    )
                    elements.append(gradient[0, 0, 0, 0])
            return elements

        concrete = gradients.get_concrete_function(x, sizes, dy, step)
        return lambda: concrete(x, sizes, dy, step)

    return {
        "dense": make(tfag.FullGradient()),
        "max": make(tfag.MaxGradient(k=k)),
        "sampled": make(tfag.SampledGradient(k=k)),
        "rows": make(tfag.RowSampledGradient()),
        "random": make(tfag.RandomGradient()),
        "zero": make(tfag.ZeroGradient()),
    }


def measure(
    shape: Shape, machine: Machine, k: int, dtype: str, data_format: str, rounds: int
) -> Row:
    """Times all methods on one shape."""
    repeats = math.ceil(_ENOUGH_WORK / shape.dense_work)
    repeats = min(repeats, _MOST_REPEATS)
    functions = make_functions(shape, k, dtype, data_format, repeats)
    seconds = time_in_turns(functions, rounds)
    ms = {
        name: 1e3 * statistics.median(times) / repeats
        for name, times in seconds.items()
    }
    ratio = {
        name: median_ratio(seconds["dense"], times) for name, times in seconds.items()
    }
    bound_ms = 1e3 * shape.bound_seconds(k, tf.as_dtype(dtype).size, machine)
    return Row(
        group=shape.group,
        shape=str(shape),
        dense_ms=ms["dense"],
        max_ms=ms["max"],
        max_ratio=ratio["max"],
        bound_ms=bound_ms,
        max_over_bound=ms["max"] / bound_ms,
        sampled_ms=ms["sampled"],
        sampled_ratio=ratio["sampled"],
        rows_ms=ms["rows"],
        rows_ratio=ratio["rows"],
        random_ms=ms["random"],
        random_ratio=ratio["random"],
        zero_ms=ms["zero"],
        zero_ratio=ratio["zero"],
        paper_ratio=shape.paper,
    )


_FORM = "{:26} {:>8}" + " {:>8} {:>7}" * 4 + " {:>9} {:>7} {:>8} {:>7} {:>6}"


def format_row(row: Row) -> str:
    paper = "-" if math.isnan(row.paper_ratio) else f"{row.paper_ratio:.1f}x"
    return _FORM.format(
        row.shape,
        f"{row.dense_ms:.2f}",
        f"{row.max_ms:.3f}",
        f"{row.max_ratio:.1f}x",
        f"{row.bound_ms:.3f}",
        f"{row.max_over_bound:.1f}",
        f"{row.sampled_ms:.3f}",
        f"{row.sampled_ratio:.1f}x",
        f"{row.rows_ms:.3f}",
        f"{row.rows_ratio:.1f}x",
        f"{row.random_ms:.4f}",
        f"{row.random_ratio:.0f}x",
        f"{row.zero_ms:.4f}",
        f"{row.zero_ratio:.0f}x",
        paper,
    )


def format_means(group: str, rows: list[Row]) -> str:
    """The geometric means of a group's ratios, and the worst of three methods."""
    means = {
        name: geometric_mean(getattr(row, f"{name}_ratio") for row in rows)
        for name in ("max", "sampled", "rows", "random", "zero", "paper")
    }
    text = ", ".join(f"{n} {mean:.1f}x" for n, mean in means.items() if mean == mean)
    worst = ", ".join(
        f"{name} {min(getattr(row, f'{name}_ratio') for row in rows):.1f}x"
        for name in ("max", "sampled", "rows")
    )
    return f"{group}: geometric means {text}; worst {worst}"


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""

    k: int
    dtype: str
    data_format: str


def choose_shapes(chosen: str) -> list[Shape]:
    """The shapes that --shapes stands for."""
    part = _GROUPS.get(chosen, chosen)
    shapes = [shape for shape in SHAPES if part in f"{shape.group} {shape}"]
    if not shapes:
        raise app.UsageError(f"--shapes={chosen} is in none of the shapes' texts")
    return shapes


def define_flags() -> None:
    """Defines the flags; train.py has some of the same names."""
    flags.DEFINE_string("csv", None, "File to write the rows to.")
    flags.DEFINE_integer("k", 1, "Positions that max and sampled keep.", lower_bound=1)
    flags.DEFINE_enum(
        "dtype",
        "float32",
        ["float32", "float64", "bfloat16", "half"],
        "Type of X and dY.",
    )
    flags.DEFINE_enum("data_format", "NHWC", ["NHWC", "NCHW"], "Layout of X and dY.")
    flags.DEFINE_integer(
        "threads", None, "Threads; by default one for each processor.", 1
    )
    flags.DEFINE_integer("rounds", 15, "Calls of each method.", lower_bound=1)
    flags.DEFINE_string(
        "shapes",
        "all",
        "all, table1, resnet50, or a part of the shapes' groups and texts.",
    )


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    shapes = choose_shapes(FLAGS.shapes)
    check_csv(FLAGS.csv)
    threads = FLAGS.threads or os.cpu_count() or 1
    set_threads(threads)
    machine = measure_machine(threads)
    print(
        f"{machine.cpu}, {threads} threads, {machine.instruction_set}; copy "
        f"{machine.bytes_per_second / 1e9:.1f} GB/s, "
        f"{machine.multiply_adds_per_second / 1e9:.0f} G multiply-adds/s\n"
        f"k={FLAGS.k}, {FLAGS.dtype}, {FLAGS.data_format}; times in ms, ratios are "
        "dense over ours\n"
    )
    titles = ("shape", "dense", "max", "ratio", "bound", "over", "sampled", "ratio")
    titles += ("rows", "ratio")
    print(_FORM.format(*titles, "random", "ratio", "zero", "ratio", "paper"))
    rows = []
    for shape in shapes:
        rows.append(
            measure(
                shape, machine, FLAGS.k, FLAGS.dtype, FLAGS.data_format, FLAGS.rounds
            )
        )
        print(format_row(rows[-1]), flush=True)
    print()
    for group in dict.fromkeys(row.group for row in rows):
        print(format_means(group, [row for row in rows if row.group == group]))
    if FLAGS.csv:
        common = dataclasses.asdict(machine) | {
            "k": FLAGS.k,
            "dtype": FLAGS.dtype,
            "data_format": FLAGS.data_format,
        }
        full = [CsvRow(**dataclasses.asdict(row), **common) for row in rows]
        write_csv(Path(FLAGS.csv), full, CsvRow)


if __name__ == "__main__":
    define_flags()
    app.run(main)
