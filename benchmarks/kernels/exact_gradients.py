r"""Times the exact gradients of 3x3 convolutions beside TensorFlow's, and their errors.

    python -m benchmarks.kernels.exact_gradients --csv=exact_gradients.csv

The shapes are those of `benchmarks.kernels.filter_gradient` with 3x3 filters and stride
1, in float32 and NHWC. Both run through TensorFlow in one process and take turns, and
the ratio is the median of the ratios of neighbouring calls. Errors are relative, by
Frobenius norms, against TensorFlow's op in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.arguments import add_threads, at_least, make_parser, new_file
from benchmarks.kernels.repeated_calls import repeated_call, repeats_of
from benchmarks.kernels.shapes import SHAPES, Shape, shapes_with
from benchmarks.machine import Machine, measure_machine, set_threads
from benchmarks.paired_times import PairedTimes, format_mean
from benchmarks.rows import merge, write_csv
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient
from tf_approxgrad.gradients.inputs import GradientInputs
from tf_approxgrad.gradients.kernel_choice import ConvolutionSizes

_ARGUMENTS = ConvArguments.parse(1, "SAME", "NHWC", 1)
_FULL, _EXACT = tfag.FullGradient(), tfag.ExactGradient()
_GRADIENTS = {"filter": filter_gradient, "input": input_gradient}
_WARM_UP_CALLS = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one gradient of a shape.

    Attributes:
        group: What the shape is counted with.
        shape: The convolution.
        gradient: "filter" or "input".
        kernel: That which `ExactGradient` chooses.
        dense_ms: Median time of TensorFlow's op.
        exact_ms: That of `ExactGradient`.
        ratio: How many times as fast as dense it is.
        dense_error: Relative error of TensorFlow's op, for normal X and dY.
        exact_error: That of `ExactGradient`.
        dense_error_relu: As `dense_error`, for an X that a ReLU left.
        exact_error_relu: As `exact_error`, likewise.
    """

    group: str
    shape: str
    gradient: str
    kernel: str
    dense_ms: float
    exact_ms: float
    ratio: float
    dense_error: float
    exact_error: float
    dense_error_relu: float
    exact_error_relu: float


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""


def make_tensors(shape: Shape) -> list[tf.Tensor]:
    """X, filters and dY."""
    taps = [shape.filter, shape.filter]
    batch = shape.batch
    return [
        tf.random.normal([batch, shape.size, shape.size, shape.in_channels]),
        tf.random.normal([*taps, shape.in_channels, shape.out_channels]),
        tf.random.normal([batch, shape.out_size, shape.out_size, shape.out_channels]),
    ]


def compute(
    tensors: list[tf.Tensor], gradient: str, method: tfag.GradientMethod
) -> tf.Tensor:
    x, filters, dy = tensors
    inputs = GradientInputs(x, tf.shape(filters), dy, _ARGUMENTS, filters)
    return _GRADIENTS[gradient](method, inputs)


def errors(tensors: list[tf.Tensor], gradient: str) -> tuple[float, float]:
    """The relative errors of dense and exact."""
    doubles = [tf.cast(tensor, tf.float64) for tensor in tensors]
    expected = compute(doubles, gradient, _FULL).numpy()
    norm = np.linalg.norm(expected)
    dense, exact = (
        float(np.linalg.norm(compute(tensors, gradient, method) - expected) / norm)
        for method in (_FULL, _EXACT)
    )
    return dense, exact


def measure(shape: Shape, gradient: str, rounds: int) -> Row:
    """Times both on one shape."""
    tensors, repeats = make_tensors(shape), repeats_of(shape)

    def make(method: tfag.GradientMethod) -> Callable[[], object]:
        return repeated_call(
            lambda tensors, _: compute(tensors, gradient, method), tensors, repeats
        )

    functions = {"dense": make(_FULL), "exact": make(_EXACT)}
    times = PairedTimes(list(functions), 1, _WARM_UP_CALLS)
    for _ in range(_WARM_UP_CALLS + rounds):
        times.run(functions)
    x, filters, dy = tensors
    sizes = ConvolutionSizes(
        tuple(x.shape), tuple(filters.shape), _ARGUMENTS, "float32"
    )
    dense_error, exact_error = errors(tensors, gradient)
    dense_relu, exact_relu = dense_error, exact_error
    if gradient == "filter":  # The input gradient doesn't read X.
        dense_relu, exact_relu = errors([tf.nn.relu(x), filters, dy], gradient)
    return Row(
        group=shape.group,
        shape=str(shape),
        gradient=gradient,
        kernel=sizes.kernel_of(_EXACT, of_input=gradient == "input"),
        dense_ms=times.step_ms("dense") / repeats,
        exact_ms=times.step_ms("exact") / repeats,
        ratio=times.times_as_fast("exact", "dense"),
        dense_error=dense_error,
        exact_error=exact_error,
        dense_error_relu=dense_relu,
        exact_error_relu=exact_relu,
    )


_FORM = "{:26} {:8} {:10} {:>9} {:>9} {:>7}" + " {:>9}" * 4


def format_row(row: Row) -> str:
    return _FORM.format(
        row.shape,
        row.gradient,
        row.kernel,
        f"{row.dense_ms:.2f}",
        f"{row.exact_ms:.2f}",
        f"{row.ratio:.2f}x",
        *(
            f"{error:.1e}"
            for error in (
                row.dense_error,
                row.exact_error,
                row.dense_error_relu,
                row.exact_error_relu,
            )
        ),
    )


def format_means(group: str, gradient: str, rows: list[Row]) -> str:
    ratios = [row.ratio for row in rows]
    return f"{group}, {gradient} gradient: {format_mean(ratios)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    add("--csv", type=new_file, help="file to write the rows to")
    add("--rounds", type=at_least(1), default=15, help="calls of each")
    add("--shapes", default="", help="a part of the shapes' groups and texts")
    args = parser.parse_args(arguments)
    shapes = [
        shape
        for shape in shapes_with(args.shapes, SHAPES)
        if (shape.filter, shape.stride) == (3, 1)
    ]
    if not shapes:
        parser.error(f"--shapes: {args.shapes} is in none of the shapes' texts")
    set_threads(args.threads)
    machine = measure_machine(args.threads)
    print(f"{machine}\ntimes in ms\n")
    titles = ("shape", "gradient", "kernel", "dense", "exact", "ratio")
    print(_FORM.format(*titles, "error", "exact's", "ReLU", "exact's"))
    rows = []
    for gradient in _GRADIENTS:
        for shape in shapes:
            rows.append(measure(shape, gradient, args.rounds))
            print(format_row(rows[-1]), flush=True)
    print()
    for gradient in _GRADIENTS:
        for group in dict.fromkeys(shape.group for shape in shapes):
            chosen = [x for x in rows if (x.group, x.gradient) == (group, gradient)]
            print(format_means(group, gradient, chosen))
    if args.csv:
        write_csv(args.csv, [merge(CsvRow, machine, row) for row in rows], CsvRow)


if __name__ == "__main__":
    main()
