r"""Times the filter gradient of single convolutions, exact and approximate.

    python -m benchmarks.kernels.filter_gradient --csv=filter_gradient.csv

The shapes are those of the paper's Table 1, at batch 128, and of ResNet-50, at batch
32. All methods run through TensorFlow in one process and take turns, and a ratio is the
median of the ratios of neighbouring calls; "rows" is the row-sampled method. The bound
is the time that the machine needs if nothing helps: to read X and dY and to write dF
once, at the bandwidth of a copy, or to do the multiply-adds of the kept positions at
the rate of a loop of nothing else. What stays in the caches, or of X isn't among the
kept patches, takes less.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.arguments import (
    add_threads,
    at_least,
    make_parser,
    new_file,
)
from benchmarks.kernels.repeated_calls import repeated_call, repeats_of
from benchmarks.kernels.shapes import SHAPES, Shape, shapes_with
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.paired_times import PairedTimes, geometric_mean
from benchmarks.rows import merge, write_csv

_WARM_UP_CALLS = 2
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


@dataclasses.dataclass(frozen=True)
class Options:
    """What is timed."""

    k: int
    dtype: str
    data_format: str


@dataclasses.dataclass(frozen=True)
class CsvRow(Options, Row, Machine):
    """A row with all that it depends on."""


def make_functions(
    shape: Shape, options: Options, repeats: int
) -> dict[str, Callable[[], object]]:
    """A call for each method, which computes the gradient `repeats` times."""

    def random(size: int, channels: int) -> tf.Tensor:
        sizes = [size, size]
        first = options.data_format == "NCHW"
        axes = [channels, *sizes] if first else [*sizes, channels]
        return tf.cast(tf.random.normal([shape.batch, *axes]), options.dtype)

    x = random(shape.size, shape.in_channels)
    dy = random(shape.out_size, shape.out_channels)
    # An argument of the function, so that no method is computed when it is traced.
    taps = [shape.filter, shape.filter]
    sizes = tf.constant([*taps, shape.in_channels, shape.out_channels])
    tensors = [x, sizes, dy, tf.constant(0, tf.int64)]

    def make(method: tfag.GradientMethod) -> Callable[[], object]:
        def compute(tensors: list[tf.Tensor], number: int) -> tf.Tensor:
            x, sizes, dy, step = tensors
            return tfag.conv2d_backprop_filter(
                x,
                sizes,
                dy,
                shape.stride,
                "SAME",
                options.data_format,
                method=method,
                step=step + number,
            )

        return repeated_call(compute, tensors, repeats)

    return {
        "dense": make(tfag.FullGradient()),
        "max": make(tfag.MaxGradient(k=options.k)),
        "sampled": make(tfag.SampledGradient(k=options.k)),
        "rows": make(tfag.RowSampledGradient()),
        "random": make(tfag.RandomGradient()),
        "zero": make(tfag.ZeroGradient()),
    }


def measure(shape: Shape, machine: Machine, options: Options, rounds: int) -> Row:
    """Times all methods on one shape."""
    repeats = repeats_of(shape)
    functions = make_functions(shape, options, repeats)
    times = PairedTimes(list(functions), 1, _WARM_UP_CALLS)
    for _ in range(_WARM_UP_CALLS + rounds):
        times.run(functions)
    ms = {name: times.step_ms(name) / repeats for name in functions}
    ratio = {name: times.times_as_fast(name, "dense") for name in functions}
    element_bytes = tf.as_dtype(options.dtype).size
    bound_ms = 1e3 * shape.bound_seconds(options.k, element_bytes, machine)
    del ratio["dense"]
    return Row(
        group=shape.group,
        shape=str(shape),
        bound_ms=bound_ms,
        max_over_bound=ms["max"] / bound_ms,
        paper_ratio=shape.paper,
        **{f"{name}_ms": value for name, value in ms.items()},
        **{f"{name}_ratio": value for name, value in ratio.items()},
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


def choose_shapes(chosen: str) -> list[Shape]:
    """The shapes that --shapes stands for.

    Raises:
        argparse.ArgumentTypeError: If there are none.
    """
    part = _GROUPS.get(chosen, chosen)
    shapes = shapes_with(part, SHAPES)
    if not shapes:
        raise argparse.ArgumentTypeError(f"{chosen} is in none of the shapes' texts")
    return shapes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    add("--csv", type=new_file, help="file to write the rows to")
    add("--k", type=at_least(1), default=1, help="positions that max and sampled keep")
    add(
        "--dtype",
        default="float32",
        choices=["float32", "float64", "bfloat16", "half"],
        help="type of X and dY",
    )
    add(
        "--data_format",
        default="NHWC",
        choices=["NHWC", "NCHW"],
        help="layout of X and dY",
    )
    add("--rounds", type=at_least(1), default=15, help="calls of each method")
    add(
        "--shapes",
        type=choose_shapes,
        default="all",
        help="all, table1, resnet50, or a part of the shapes' groups and texts",
    )
    args = parser.parse_args(arguments)
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    options = Options(args.k, args.dtype, args.data_format)
    print(
        f"{machine}\nk={args.k}, {args.dtype}, {args.data_format}; times in ms, ratios "
        "are dense over ours\n"
    )
    titles = ("shape", "dense", "max", "ratio", "bound", "over", "sampled", "ratio")
    titles += ("rows", "ratio")
    print(_FORM.format(*titles, "random", "ratio", "zero", "ratio", "paper"))
    rows = []
    for shape in args.shapes:
        rows.append(measure(shape, machine, options, args.rounds))
        print(format_row(rows[-1]), flush=True)
    print()
    for group in dict.fromkeys(row.group for row in rows):
        print(format_means(group, [row for row in rows if row.group == group]))
    if args.csv:
        full = [merge(CsvRow, machine, row, options) for row in rows]
        write_csv(args.csv, full, CsvRow)


if __name__ == "__main__":
    main()
