"""The op that gathers drawn rows, and the gradient from it, as on a GPU."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from reference import GEOMETRIES, SOME_GEOMETRIES, Problem, to_nhwc

import tf_approxgrad as tfag
from tf_approxgrad.gradients import filter_gradient as filter_gradient_module
from tf_approxgrad.gradients import op_library

PROBLEM = Problem()
FORMATS = ["NHWC", "NCHW"]
DTYPES = ["float32", "float64", "bfloat16", "half"]
VARIANTS = [
    {"probability": "norm", "keep_largest": False},
    {"probability": "product", "keep_largest": False},
    {"probability": "norm", "keep_largest": True},
    {"probability": "product", "keep_largest": True},
]


def sample(problem=PROBLEM, arrays=None, step=0, draws=4, **others):
    x, dy = problem.arrays() if arrays is None else arrays
    arguments = {
        "accumulator": tf.float64 if problem.dtype == "float64" else tf.float32,
        "filter_sizes": problem.filter_sizes,
        **problem.op_arguments(),
    }
    return op_library.approx_sample_rows(
        input=x,
        out_backprop=dy,
        step=tf.constant(step, tf.int64),
        draws=tf.constant(draws, tf.int64),
        **arguments | others,
    )


@pytest.fixture
def beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_gradient_module, "may_be_on_gpu", lambda _: True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"draws": 0}, r"draws is 0, but it must be from 1 to 126"),
        ({"draws": 127}, r"draws is 127, but it must be from 1 to 126"),
        ({"draws": [4]}, r"step and draws have the shapes .*must be scalars"),
        ({"step": [0, 1]}, r"step and draws have the shapes .*must be scalars"),
        ({"layer": 2**32}, r"layer is 4294967296, but it must be from 0 to 429496729"),
        ({"probability": "size"}, r"probability.*size"),
        ({"filter_sizes": [3, 3, 4, 5]}, r"filter_sizes\[2\].*4.*channels of input"),
        ({"strides": [1, 2, 1, 1]}, r"number of rows of out_backprop"),
        (
            {"accumulator": tf.float64},
            r"accumulator is double, but it must be float for float",
        ),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments: dict, words: str) -> None:
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        sample(**arguments)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        tf.function(lambda: sample(**arguments))()


def test_shapes_are_known_when_the_graph_is_made() -> None:
    concrete = tf.function(lambda: sample(draws=7)).get_concrete_function()
    assert concrete.output_shapes[0] == [7, 27]
    assert concrete.output_shapes[1] == [7, 5]


@pytest.mark.parametrize(("n", "ci", "co"), [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_draw_gives_zeros(n: int, ci: int, co: int) -> None:
    problem = Problem(n=n, ci=ci, co=co)
    patches, rows = sample(problem)
    np.testing.assert_array_equal(patches, np.zeros([4, 9 * ci]))
    np.testing.assert_array_equal(rows, np.zeros([4, co]))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_product_of_the_drawn_rows_is_the_gradient(
    geometry: str, data_format: str, variant: dict
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    x, dy = problem.arrays()
    drawn = {"seed": -5, "layer": 7, **variant}
    draws = max(1, problem.n * problem.positions // 5)
    patches, rows = sample(problem, step=2**33 + 3, draws=draws, **drawn)
    expected = op_library.approx_row_sampled_conv2d_backprop_filter(
        input=x,
        filter_sizes=problem.filter_sizes,
        out_backprop=dy,
        step=tf.constant(2**33 + 3, tf.int64),
        draws=tf.constant(draws, tf.int64),
        **problem.op_arguments(),
        **drawn,
    )
    product = np.float64(patches).T @ np.float64(rows)
    tolerance = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(
        product.reshape(problem.filter_sizes), expected, rtol=1e-5, atol=tolerance
    )


def test_rows_drawn_twice_are_there_twice_and_the_rest_is_zero() -> None:
    problem = Problem((1, 1), n=1, size=(1, 6), ci=2, co=3, dtype="float64")
    x, dy = problem.arrays()
    dy[:, :, [0, 1, 3, 4, 5]] = 0
    patches, rows = sample(problem, (x, dy), draws=3)
    np.testing.assert_array_equal(patches, [x[0, 0, 2]] * 3)
    np.testing.assert_allclose(rows, [dy[0, 0, 2] / 3] * 3, rtol=1e-15)
    patches, rows = sample(problem, (x, dy), draws=3, keep_largest=True)
    np.testing.assert_array_equal(patches, [x[0, 0, 2], [0, 0], [0, 0]])
    np.testing.assert_array_equal(rows, [dy[0, 0, 2], [0] * 3, [0] * 3])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_output_gradient_makes_all_rows_nan(
    value: float, dtype: str, variant: dict
) -> None:
    problem = Problem(dtype=dtype)
    x, dy = problem.arrays()
    dy[1, 2, 3, 4] = value
    patches, rows = sample(problem, (x, dy), **variant)
    np.testing.assert_array_equal(patches, np.zeros([4, 27]))
    np.testing.assert_array_equal(rows, np.full([4, 5], np.nan))


@pytest.mark.usefixtures("beside_a_gpu")
@pytest.mark.parametrize("scale", [-0.5, "batch"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", FORMATS)
def test_gradient_beside_a_gpu_is_that_of_the_cpu(
    data_format: str, dtype: str, scale: float | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem((2, 3), strides=(2, 1), n=3, dtype=dtype, data_format=data_format)
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(0.3, scale, seed=2)
    actual = filter_gradient(problem, x, dy, method, 9)
    monkeypatch.undo()
    expected = filter_gradient(problem, x, dy, method, 9)
    assert actual.dtype == expected.dtype
    digits = {"float32": 1e-5, "float64": 1e-13, "bfloat16": 2e-2, "half": 2e-3}[dtype]
    largest = np.abs(np.float64(expected)).max()
    np.testing.assert_allclose(
        np.float64(actual), np.float64(expected), rtol=digits, atol=digits * largest
    )


@pytest.mark.usefixtures("beside_a_gpu")
@pytest.mark.parametrize("data_format", FORMATS)
def test_gradient_beside_a_gpu_shows_what_is_not_finite(data_format: str) -> None:
    problem = Problem(n=3, data_format=data_format)
    x, dy = problem.arrays()
    to_nhwc(dy, data_format)[1, 2, 3, 4] = np.inf
    method = tfag.RowSampledGradient(0.01, keep_largest=True)
    assert np.isnan(filter_gradient(problem, x, dy, method, 0)).all()


@pytest.mark.usefixtures("beside_a_gpu")
@pytest.mark.parametrize("n", [0, 2])
def test_unknown_shapes_beside_a_gpu_give_the_same(n: int) -> None:
    problem = Problem(n=n)
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(0.3)
    unknown = tf.TensorSpec([None] * 4, tf.float32)

    @tf.function(input_signature=[unknown, tf.TensorSpec([4], tf.int32), unknown])
    def compute(x: tf.Tensor, sizes: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x, sizes, dy, method=method, step=9, **problem.function_arguments()
        )

    np.testing.assert_array_equal(
        compute(x, problem.filter_sizes, dy),
        filter_gradient(problem, x, dy, method, 9),
    )
