"""Exact gradients by this package's kernels: float64 NumPy and dense decide."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from input_reference import exact_of_rows, filters_of
from recording import operations
from reference import Problem, from_nhwc

import tf_approxgrad as tfag
from tf_approxgrad.gradients import kernel_choice, op_library
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.kernel_choice import ConvolutionSizes

METHODS = [tfag.WinogradGradient(), tfag.ExactGradient()]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
PROBLEM = Problem(n=3, size=(11, 7), ci=13, co=17)
# Unit roundoffs of what gradients are rounded to, times the error of a float32 sum.
LARGEST_ERRORS = {"float32": 3e-6, "bfloat16": 2.0**-8, "half": 2.0**-10}


def input_gradient(
    problem: Problem,
    filters: np.ndarray,
    x: np.ndarray,
    dy: np.ndarray,
    method: tfag.GradientMethod,
) -> np.ndarray:
    """dX, where the filter gradient's method is none that computes."""
    input = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(input)
        output = tfag.conv2d(
            input,
            filters,
            method="zero",
            input_gradient=method,
            **problem.function_arguments(),
        )
    gradient = tape.gradient(output, input, output_gradients=tf.convert_to_tensor(dy))
    assert gradient.dtype == input.dtype
    return gradient.numpy()


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Relative error by Frobenius norms."""
    difference = actual.astype(np.float64) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


@each_method
@pytest.mark.parametrize(
    ("dtype", "data_format"),
    [
        ("float32", "NHWC"),
        ("float32", "NCHW"),
        ("bfloat16", "NHWC"),
        ("half", "NHWC"),
    ],
)
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (1, 3))], ids=str)
def test_gradients_are_the_reference(
    padding: object, dtype: str, data_format: str, method: tfag.GradientMethod
) -> None:
    problem = dataclasses.replace(
        PROBLEM, padding=padding, dtype=dtype, data_format=data_format
    )
    (x, dy), filters = problem.arrays(), filters_of(problem)
    limit = LARGEST_ERRORS[dtype]
    of_filters = filter_gradient(problem, x, dy, method)
    assert error(of_filters, problem.dense_gradient(x, dy)) < limit
    of_input = input_gradient(problem, filters, x, dy, method)
    expected = exact_of_rows(problem, filters, problem.channels(dy))
    assert error(of_input, expected) < limit


DISTRIBUTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normal": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0),
    "mean 3": lambda x: x + 3,
    "mean 100": lambda x: x + 100,
}


@pytest.mark.parametrize(
    ("size", "channels"),
    [((4, 4), 64), ((7, 7), 48), ((14, 14), 32), ((2, 2), 128), ((32, 32), 16)],
)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_errors_are_small_beside_those_of_dense(
    distribution: str, size: tuple[int, int], channels: int
) -> None:
    problem = Problem(n=16, size=size, ci=channels, co=channels)
    (x, dy), filters = problem.arrays(), filters_of(problem)
    x = DISTRIBUTIONS[distribution](x).astype(np.float32)
    expected = problem.dense_gradient(x, dy)
    of_input = exact_of_rows(problem, filters, problem.channels(dy))
    methods = tfag.FullGradient(), tfag.WinogradGradient()
    dense, winograd = (
        error(filter_gradient(problem, x, dy, method), expected) for method in methods
    )
    # Of short sums, as on 2x2 maps, dense ones round less on some processors.
    assert winograd < min(max(5 * dense, 1.5e-6), 3e-6)
    dense, winograd = (
        error(input_gradient(problem, filters, x, dy, method), of_input)
        for method in methods
    )
    assert winograd < min(max(5 * dense, 1.5e-6), 3e-6)


def sizes(
    input: tuple[int | None, ...] = (None, 16, 16, 32),
    filters: tuple[int | None, ...] = (3, 3, 32, 32),
    dtype: str = "float32",
    strides: int = 1,
    padding: object = "SAME",
    data_format: str = "NHWC",
    dilations: int = 1,
) -> ConvolutionSizes:
    arguments = ConvArguments.parse(strides, padding, data_format, dilations)
    return ConvolutionSizes(input, filters, arguments, dtype)


KERNELS = {
    "3x3": (sizes(), "winograd", "winograd"),
    "channels first": (
        sizes((None, 32, 16, 16), data_format="NCHW"),
        "winograd",
        "winograd",
    ),
    "unknown map": (sizes((None, None, None, 32)), "winograd", "winograd"),
    "unknown filters": (sizes(filters=(None,) * 4), "dense", "dense"),
    "bfloat16": (sizes(dtype="bfloat16"), "winograd", "winograd"),
    "float64": (sizes(dtype="float64"), "dense", "dense"),
    "stride": (sizes(strides=2), "dense", "dense"),
    "dilation": (sizes(dilations=2), "dense", "dense"),
    "1x1": (sizes(filters=(1, 1, 32, 32)), "dense", "dense"),
    "5x5": (sizes(filters=(5, 5, 32, 32)), "dense", "dense"),
    "three channels": (sizes(filters=(3, 3, 3, 64)), "dense", "dense"),
    "no channels": (sizes(filters=(3, 3, 0, 64)), "dense", "dense"),
    "2x2 map": (sizes((8, 2, 2, 32)), "winograd", "dense"),
    "few tiles": (sizes((4, 4, 4, 32)), "winograd", "dense"),
    "enough tiles": (sizes((4, 8, 8, 32)), "winograd", "winograd"),
    "1x1 map": (sizes((None, 1, 1, 32)), "positions", "dense"),
    "1x1 map, no padding": (
        sizes((None, 1, 1, 32), (1, 1, 32, 32), padding="VALID"),
        "dense",
        "dense",
    ),
    "row": (sizes((None, 1, 16, 32)), "dense", "dense"),
    "stride to 2x2": (
        sizes((None, 3, 3, 32), strides=2, padding=[[0, 0], [1, 1], [1, 1], [0, 0]]),
        "positions",
        "dense",
    ),
    "5x5 on 2x2": (sizes((None, 2, 2, 8), (5, 5, 8, 8)), "positions", "dense"),
    "nothing": (sizes((None, 1, 1, 32), padding="VALID"), "dense", "dense"),
}


@pytest.fixture(autouse=True)
def without_bfloat16_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor like any other."""
    monkeypatch.setattr(kernel_choice, "has_bfloat16_matrices", lambda: False)


def test_bfloat16_is_left_to_processors_that_have_matrices_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_choice, "has_bfloat16_matrices", lambda: True)
    exact = tfag.ExactGradient()
    assert sizes(dtype="bfloat16").kernel_of(exact) == "dense"
    assert sizes(dtype="float32").kernel_of(exact) == "winograd"


@pytest.mark.parametrize("case", KERNELS)
def test_kernel_follows_from_the_sizes(case: str) -> None:
    problem, of_filters, of_input = KERNELS[case]
    exact, winograd, full = METHODS[1], METHODS[0], tfag.FullGradient()
    assert problem.kernel_of(exact) == of_filters
    assert problem.kernel_of(exact, of_input=True) == of_input
    expected = "dense" if of_filters == "positions" else of_filters
    assert problem.kernel_of(winograd) == expected
    assert problem.kernel_of(full) == problem.kernel_of(full, True) == "dense"


def traced(
    problem: Problem, method: tfag.GradientMethod, compiled: bool = False
) -> tuple[set[str], tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The ops of both gradients, their values and those of full."""
    (x, dy), filters = problem.arrays(), filters_of(problem)

    def gradients(method: tfag.GradientMethod) -> list[tf.Tensor]:
        tensors = [tf.convert_to_tensor(x), tf.convert_to_tensor(filters)]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = tfag.conv2d(
                *tensors,
                method=method,
                input_gradient=None if method.name == "full" else method,
                **problem.function_arguments(),
            )
        return tape.gradient(output, tensors, output_gradients=tf.constant(dy))

    function = tf.function(gradients, jit_compile=compiled)
    kinds = operations(function.get_concrete_function(method).graph)
    full = tf.function(gradients, jit_compile=compiled)(tfag.FullGradient())
    return kinds, function(method), full


OPS = {"ApproxWinogradConv2DBackpropFilter", "ApproxWinogradConv2DBackpropInput"}


@each_method
def test_kernels_are_those_of_winograd_where_they_apply(
    method: tfag.GradientMethod,
) -> None:
    kinds, _, _ = traced(dataclasses.replace(PROBLEM, n=16), method)
    assert kinds >= OPS


@each_method
@pytest.mark.parametrize(
    "change",
    [{"strides": (2, 2)}, {"kernel": (5, 5)}, {"dtype": "float64"}, {"co": 2}],
    ids=str,
)
def test_elsewhere_gradients_are_full_ones(
    change: dict[str, object], method: tfag.GradientMethod
) -> None:
    kinds, actual, full = traced(dataclasses.replace(PROBLEM, **change), method)
    assert not kinds & OPS
    for one, other in zip(actual, full, strict=True):
        np.testing.assert_array_equal(one, other)


@each_method
def test_xla_compiles_full_gradients(method: tfag.GradientMethod) -> None:
    problem = dataclasses.replace(PROBLEM, n=16)
    kinds, actual, full = traced(problem, method, compiled=True)
    assert not kinds & OPS
    for one, other in zip(actual, full, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradient_of_a_tiny_map_is_exact_by_the_kernel_of_positions() -> None:
    problem = Problem(n=5, size=(1, 1), ci=6, co=7)
    kinds, _, _ = traced(problem, tfag.ExactGradient())
    assert "ApproxConv2DBackpropFilter" in kinds
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.ExactGradient())
    assert error(actual, problem.dense_gradient(x, dy)) < 1e-6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["x", "dy", "filters"])
def test_what_is_not_finite_shows(place: str, value: float) -> None:
    tensors = dict(zip(("x", "dy"), PROBLEM.arrays(), strict=True))
    tensors["filters"] = filters_of(PROBLEM)
    tensors[place][1, 2, 1, 3] = value
    x, dy, filters = tensors["x"], tensors["dy"], tensors["filters"]
    full, winograd = tfag.FullGradient(), tfag.WinogradGradient()
    if place != "filters":
        dense = filter_gradient(PROBLEM, x, dy, full)
        actual = filter_gradient(PROBLEM, x, dy, winograd)
        assert not np.isfinite(dense).all()
        assert not np.isfinite(actual[~np.isfinite(dense)]).any()
    if place != "x":
        dense = input_gradient(PROBLEM, filters, x, dy, full)
        actual = input_gradient(PROBLEM, filters, x, dy, winograd)
        assert not np.isfinite(dense).all()
        assert not np.isfinite(actual[~np.isfinite(dense)]).any()


@each_method
def test_empty_batch_gives_zeros(method: tfag.GradientMethod) -> None:
    problem = dataclasses.replace(PROBLEM, n=0)
    (x, dy), filters = problem.arrays(), filters_of(problem)
    actual = filter_gradient(problem, x, dy, method)
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))
    assert input_gradient(problem, filters, x, dy, method).shape == x.shape


@pytest.mark.parametrize(
    "change",
    [{"kernel": (3, 2)}, {"strides": (1, 2)}, {"dilations": (2, 1)}],
    ids=str,
)
def test_ops_refuse_other_convolutions(change: dict[str, object]) -> None:
    problem = dataclasses.replace(PROBLEM, **change)
    x, dy = problem.arrays()
    allowed = "3x3 filter, strides and dilations of 1, and NHWC"
    with pytest.raises(tf.errors.InvalidArgumentError, match=allowed):
        op_library.approx_winograd_conv2d_backprop_filter(
            input=x,
            filter_sizes=problem.filter_sizes,
            out_backprop=dy,
            **problem.op_arguments(),
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match=allowed):
        op_library.approx_winograd_conv2d_backprop_input(
            input_sizes=x.shape,
            filter=filters_of(problem),
            out_backprop=dy,
            **problem.op_arguments(),
        )


def test_ops_refuse_channels_first() -> None:
    problem = dataclasses.replace(PROBLEM, data_format="NCHW")
    x, dy = problem.arrays()
    assert x.shape == from_nhwc(np.zeros([3, 11, 7, 13]), "NCHW").shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="is NCHW, but"):
        op_library.approx_winograd_conv2d_backprop_filter(
            input=x,
            filter_sizes=problem.filter_sizes,
            out_backprop=dy,
            **problem.op_arguments(),
        )
