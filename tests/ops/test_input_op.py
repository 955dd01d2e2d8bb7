"""The ops of the input gradient: float64 NumPy decides."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from input_reference import exact_of_rows, filters_of, max_rows
from programs import with_threads
from reference import GEOMETRIES, SOME_GEOMETRIES, Problem, assert_gradient
from row_reference import row_weights, uniform

from tf_approxgrad.gradients import op_library

SEED, LAYER, STEP = -5, 7, 2**33 + 3
STREAM = {"seed": SEED, "layer": LAYER}
LAYOUTS = ["NHWC", "NCHW"]


def sampled_weights(problem: Problem, dy: np.ndarray, k: int) -> np.ndarray:
    return problem.drawn_weights(problem.channels(dy), k, SEED, STEP, LAYER)


def allowed(
    problem: Problem, filters: np.ndarray, weights: np.ndarray, dy: np.ndarray
) -> np.ndarray:
    """How far a right kernel may be off, per element of dX.

    As `Problem.max_error`: a weight is a channel's sum at most, and a sum of m terms
    in any order is off by m*u of their magnitudes.
    """
    u = 2.0**-53 if problem.dtype == "float64" else 2.0**-24
    sums = np.abs(problem.channels(dy)).sum(axis=1, keepdims=True)
    size = np.where(weights != 0, np.abs(weights) + 2 * sums, 0)
    terms = 2 * problem.positions + problem.co * np.prod(problem.kernel) + 16
    error = terms * u * exact_of_rows(problem, np.abs(filters), size)
    return problem.with_rounding(error, exact_of_rows(problem, filters, weights))


def input_sizes(problem: Problem) -> list[int]:
    sizes = problem.by_format(problem.size, problem.n)
    sizes[1 if problem.data_format == "NCHW" else 3] = problem.ci
    return sizes


def run_max(problem: Problem, dy: np.ndarray, **attributes: object) -> np.ndarray:
    return op_library.approx_conv2d_backprop_input(
        input_sizes=input_sizes(problem),
        filter=filters_of(problem),
        out_backprop=dy,
        **problem.op_arguments() | attributes,
    ).numpy()


def run_sampled(
    problem: Problem, dy: np.ndarray, step: object = STEP, **attributes: object
) -> np.ndarray:
    return op_library.approx_sampled_conv2d_backprop_input(
        input_sizes=input_sizes(problem),
        filter=filters_of(problem),
        out_backprop=dy,
        step=tf.constant(step, tf.int64),
        **problem.op_arguments() | STREAM | attributes,
    ).numpy()


def run_rows(
    problem: Problem,
    x: np.ndarray,
    dy: np.ndarray,
    share: float = 0.2,
    **attributes: object,
) -> np.ndarray:
    draws = max(1, int(share * problem.n * problem.positions))
    arguments = {"step": STEP, "draws": draws} | attributes
    for name in ("step", "draws"):
        arguments[name] = tf.constant(arguments[name], tf.int64)
    return op_library.approx_row_sampled_conv2d_backprop_input(
        input=x,
        filter=filters_of(problem),
        out_backprop=dy,
        **problem.op_arguments() | STREAM | arguments,
    ).numpy()


def check(
    problem: Problem,
    dy: np.ndarray,
    actual: np.ndarray,
    weights: np.ndarray,
) -> None:
    filters = filters_of(problem)
    assert actual.dtype == tf.as_dtype(problem.dtype).as_numpy_dtype
    expected = exact_of_rows(problem, filters, weights)
    assert_gradient(actual, expected, allowed(problem, filters, weights, dy))


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_kept_positions_scatter_slices_of_the_filter(
    geometry: str, data_format: str
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    _, dy = problem.arrays()
    for k in (1, 3):
        check(problem, dy, run_max(problem, dy, k=k), max_rows(problem, dy, k)[0])
    actual = run_sampled(problem, dy, k=2)
    check(problem, dy, actual, sampled_weights(problem, dy, 2))


@pytest.mark.parametrize("probability", ["norm", "product"])
@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_drawn_rows_scatter_slices_of_the_filter(
    geometry: str, data_format: str, probability: str
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    x, dy = problem.arrays()
    keeps = probability == "product"
    number = uniform(SEED, LAYER, STEP)
    rows = row_weights(problem, x, dy, 0.2, number, probability, keeps)
    weights = rows.reshape(problem.n, -1, 1) * problem.channels(dy)
    actual = run_rows(problem, x, dy, probability=probability, keep_largest=keeps)
    check(problem, dy, actual, weights)


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
def test_every_type_is_accumulated_in_its_accumulators(
    dtype: str, data_format: str
) -> None:
    problem = Problem(dtype=dtype, data_format=data_format, ci=35, co=18)
    x, dy = problem.arrays()
    check(problem, dy, run_max(problem, dy, k=2), max_rows(problem, dy, 2)[0])
    actual = run_sampled(problem, dy, k=4)
    check(problem, dy, actual, sampled_weights(problem, dy, 4))
    rows = row_weights(problem, x, dy, 0.2, uniform(SEED, LAYER, STEP))
    weights = rows.reshape(problem.n, -1, 1) * problem.channels(dy)
    check(problem, dy, run_rows(problem, x, dy), weights)


@pytest.mark.parametrize("size", [(9, 7), (2, 2), (1, 1)])
def test_all_positions_give_the_exact_gradient(size: tuple[int, int]) -> None:
    problem = Problem(size=size, ci=20)
    x, dy = problem.arrays()
    exact = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=x.shape,
        filter=filters_of(problem),
        out_backprop=dy,
        **problem.op_arguments(),
    )
    for actual in (run_max(problem, dy, k=1000), run_sampled(problem, dy, k=1000)):
        np.testing.assert_allclose(actual, exact, rtol=1e-4, atol=1e-4)


def test_share_scale_and_mean_are_those_of_the_filter_gradient() -> None:
    problem = Problem(n=3)
    _, dy = problem.arrays()
    # 63 positions: 0.04 of them are 2.52.
    actual = run_max(problem, dy, k_share=0.04, scale=0.5, mean_over_batch=True)
    check(problem, dy, actual, max_rows(problem, dy, 3)[0] * 0.5 / 3)
    x, _ = problem.arrays()
    whole = run_rows(problem, x, dy)
    part = run_rows(problem, x, dy, scale=-0.5, mean_over_batch=True)
    np.testing.assert_allclose(part, whole * -0.5 / 3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("padding", ["SAME", ((4, 5), (6, 3))])
def test_value_that_is_not_finite_shows_in_its_example(
    padding: object, value: float
) -> None:
    problem = Problem(padding=padding, size=(4, 5))
    x, dy = problem.arrays()
    dy[1, 3, 2, 0] = value
    for actual in (run_max(problem, dy, k=2), run_sampled(problem, dy, k=2)):
        assert np.isfinite(actual[0]).all()
        assert not np.isfinite(actual[1]).all()
    assert np.isnan(run_rows(problem, x, dy)).all()


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize(("n", "ci", "co"), [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_sum_gives_zeros(n: int, ci: int, co: int, data_format: str) -> None:
    problem = Problem(n=n, ci=ci, co=co, data_format=data_format)
    x, dy = problem.arrays()
    for mean in (False, True):
        for actual in (
            run_max(problem, dy, mean_over_batch=mean),
            run_sampled(problem, dy, mean_over_batch=mean),
            run_rows(problem, x, dy, mean_over_batch=mean),
        ):
            np.testing.assert_array_equal(actual, np.zeros(x.shape))


def test_rows_of_zeros_give_zeros() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    actual = run_rows(problem, x, 0 * dy)
    np.testing.assert_array_equal(actual, np.zeros(x.shape))


def test_types_of_small_range_round_as_numpy_does() -> None:
    problem = Problem((1, 1), n=1, size=(1, 1), ci=4000, co=1, dtype="bfloat16")
    dy = np.ones((1, 1, 1, 1), ml_dtypes.bfloat16)
    exact = filters_of(problem).reshape(1, 1, 1, 4000)
    np.testing.assert_array_equal(run_max(problem, dy), exact)


PRINT_DIGESTS = """
from reference import Problem
from test_input_op import run_max, run_rows, run_sampled
for size in ((31, 29), (2, 2)):
    for data_format in ("NHWC", "NCHW"):
        problem = Problem(n=53, size=size, ci=70, co=90, data_format=data_format)
        x, dy = problem.arrays()
        for gradient in (
            run_max(problem, dy, k=3),
            run_sampled(problem, dy, k=2),
            run_rows(problem, x, dy),
        ):
            show(gradient)
"""


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit() -> None:
    one, five = with_threads(PRINT_DIGESTS, 1, 5)
    assert len(one) == 12
    assert one == five
