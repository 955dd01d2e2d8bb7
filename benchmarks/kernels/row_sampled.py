r"""Times the row-sampled filter gradient as plans use it beside TensorFlow's.

    python -m benchmarks.kernels.row_sampled --csv=row_sampled.csv

Rows are drawn by products of norms and the largest are kept. The shapes are those of
`benchmarks.kernels.filter_gradient` and of a ResNet-18 of half width. All run through
TensorFlow in one process and take turns, and a ratio is the median of the ratios of
neighbouring calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.arguments import add_threads, at_least, make_parser, new_file
from benchmarks.kernels.repeated_calls import repeated_call, repeats_of
from benchmarks.kernels.shapes import RESNET18_HALF, SHAPES, Shape, shapes_with
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.paired_times import PairedTimes, format_mean
from benchmarks.rows import merge, write_csv

_WARM_UP_CALLS = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a shape at one share.

    Attributes:
        group: What the shape is counted with.
        shape: The convolution.
        dtype: Of X and dY.
        share: Of the rows that is drawn.
        dense_ms: Median time of TensorFlow's op.
        rows_ms: That of `RowSampledGradient`.
        ratio: How many times as fast as dense it is.
    """

    group: str
    shape: str
    dtype: str
    share: float
    dense_ms: float
    rows_ms: float
    ratio: float


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""


def measure(
    shape: Shape, dtype: str, shares: Sequence[float], rounds: int
) -> list[Row]:
    """Times dense and all shares on one shape."""

    def random(size: int, channels: int) -> tf.Tensor:
        return tf.cast(tf.random.normal([shape.batch, size, size, channels]), dtype)

    x = random(shape.size, shape.in_channels)
    dy = random(shape.out_size, shape.out_channels)
    # An argument of the function, so that no method is computed when it is traced.
    taps = [shape.filter, shape.filter]
    sizes = tf.constant([*taps, shape.in_channels, shape.out_channels])
    repeats = repeats_of(shape)

    def make(method: tfag.GradientMethod) -> Callable[[], object]:
        def compute(tensors: list[tf.Tensor], number: int) -> tf.Tensor:
            x, sizes, dy, step = tensors
            return tfag.conv2d_backprop_filter(
                x, sizes, dy, shape.stride, "SAME", method=method, step=step + number
            )

        return repeated_call(compute, [x, sizes, dy, tf.constant(0, tf.int64)], repeats)

    functions = {"dense": make(tfag.FullGradient())}
    for share in shares:
        functions[str(share)] = make(
            tfag.RowSampledGradient(
                share=share, probability="product", keep_largest=True
            )
        )
    times = PairedTimes(list(functions), 1, _WARM_UP_CALLS)
    for _ in range(_WARM_UP_CALLS + rounds):
        times.run(functions)
    return [
        Row(
            group=shape.group,
            shape=str(shape),
            dtype=dtype,
            share=share,
            dense_ms=times.step_ms("dense") / repeats,
            rows_ms=times.step_ms(str(share)) / repeats,
            ratio=times.times_as_fast(str(share), "dense"),
        )
        for share in shares
    ]


_FORM = "{:26} {:>7} {:>9} {:>9} {:>7}"


def format_row(row: Row) -> str:
    return _FORM.format(
        row.shape,
        f"{row.share:g}",
        f"{row.dense_ms:.2f}",
        f"{row.rows_ms:.2f}",
        f"{row.ratio:.2f}x",
    )


def format_means(group: str, share: float, rows: list[Row]) -> str:
    ratios = [row.ratio for row in rows if (row.group, row.share) == (group, share)]
    return f"{group}, share {share:g}: {format_mean(ratios)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    add("--csv", type=new_file, help="file to write the rows to")
    add("--rounds", type=at_least(1), default=15, help="calls of each")
    add("--shares", type=float, nargs="+", default=[0.5, 0.25], help="of the rows")
    add("--dtype", default="float32", choices=["float32", "bfloat16"])
    add("--shapes", default="", help="a part of the shapes' groups and texts")
    args = parser.parse_args(arguments)
    shapes = shapes_with(args.shapes, (*SHAPES, *RESNET18_HALF))
    if not shapes:
        parser.error(f"--shapes: {args.shapes} is in none of the shapes' texts")
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    print(f"{machine}\n{args.dtype}; times in ms\n")
    print(_FORM.format("shape", "share", "dense", "rows", "ratio"))
    rows: list[Row] = []
    for shape in shapes:
        found = measure(shape, args.dtype, args.shares, args.rounds)
        for row in found:
            print(format_row(row), flush=True)
        rows += found
    print()
    for group in dict.fromkeys(row.group for row in rows):
        for share in args.shares:
            print(format_means(group, share, rows))
    if args.csv:
        write_csv(args.csv, [merge(CsvRow, machine, row) for row in rows], CsvRow)


if __name__ == "__main__":
    main()
