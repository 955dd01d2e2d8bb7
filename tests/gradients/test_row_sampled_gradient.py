"""The method `row-sampled` against the reference, and which rows it draws."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from marks import slowly, slowly_but
from reference import GEOMETRIES, SOME_GEOMETRIES, Problem, assert_gradient, to_nhwc
from row_reference import (
    VARIANTS,
    row_sampled_error,
    row_sampled_gradient,
    row_sizes,
    row_weights,
    uniform,
)

import tf_approxgrad as tfag

DTYPES = ["float32", "float64", "bfloat16", "half"]
FORMATS = ["NHWC", "NCHW"]


def check_rows(problem: Problem, share: float, step: int = 3, **variant) -> None:
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(share, seed=11, **variant)
    actual = filter_gradient(problem, x, dy, method, step)
    weights = row_weights(problem, x, dy, share, uniform(11, 0, step), **variant)
    expected = row_sampled_gradient(problem, x, dy, weights)
    assert_gradient(actual, expected, row_sampled_error(problem, x, dy, weights))


def weights_of(
    sizes: list[float], method: tfag.RowSampledGradient, step: int = 0
) -> np.ndarray:
    """The weights that rows of one channel get: what meets an identity for X."""
    rows = len(sizes)
    problem = Problem((1, 1), n=1, size=(1, rows), ci=rows, co=1, dtype="float64")
    dy = np.asarray(sizes, np.float64).reshape(1, 1, rows, 1)
    x = np.eye(rows).reshape(1, 1, rows, rows)
    weighted = filter_gradient(problem, x, dy, method, step).ravel()
    return np.divide(weighted, sizes, out=np.zeros(rows), where=np.array(sizes) != 0)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_row_sampled_is_the_reference(
    geometry: str, variant: str, data_format: str
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    check_rows(problem, 0.3, **VARIANTS[variant])


@pytest.mark.parametrize("share", [1e-9, 0.03, 0.5, 0.99])
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_any_share_is_the_reference(geometry: str, share: float) -> None:
    check_rows(GEOMETRIES[geometry], share, step=2**40 + 1)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("geometry", ["5x3 all", "many output channels"])
def test_other_types_are_the_reference(
    geometry: str, variant: str, dtype: str, data_format: str
) -> None:
    problem = GEOMETRIES[geometry]
    problem = dataclasses.replace(problem, dtype=dtype, data_format=data_format)
    check_rows(problem, 0.4, **VARIANTS[variant])


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("size", [(40, 37), *slowly((16, 16))])
@pytest.mark.parametrize(("ci", "co"), [(16, 16), (3, 64), (80, 48), (130, 20)])
def test_larger_problems_are_the_reference(
    ci: int, co: int, size: tuple[int, int], data_format: str
) -> None:
    problem = Problem(n=5, size=size, ci=ci, co=co, data_format=data_format)
    check_rows(problem, 0.125)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", ["3x3", "5x3 dilated", "explicit"])
def test_share_of_one_is_dense(geometry: str, dtype: str) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], dtype=dtype, values="ties")
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.RowSampledGradient(1), 0)
    expected = problem.dense_gradient(x, dy).astype(actual.dtype)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("probability", ["norm", "product"])
def test_few_rows_that_are_not_zero_are_taken_exactly(probability: str) -> None:
    problem = Problem(n=3, size=(8, 8), dtype="float64")
    x, dy = problem.arrays()
    dy.reshape(-1, problem.co)[20:] = 0
    dy.reshape(-1, problem.co)[:20] *= 10.0 ** np.linspace(-2, 2, 20)[:, None]
    method = tfag.RowSampledGradient(0.125, probability=probability, keep_largest=True)
    actual = filter_gradient(problem, x, dy, method, 0)
    exact = problem.dense_gradient(x, dy)
    np.testing.assert_allclose(actual, exact, rtol=1e-12, atol=1e-12 * abs(exact).max())


@pytest.mark.parametrize(
    ("share", "rows", "drawn"),
    [(0.125, 64, 8), (0.7, 10, 7), (0.29, 100, 28), (0.1, 9, 1), (1e-300, 50, 1)],
)
def test_share_is_rounded_down_to_rows_but_to_one_at_least(
    share: float, rows: int, drawn: int
) -> None:
    # 0.29 * 100 is a little less than 29 in float64.
    weights = weights_of([1.0] * rows, tfag.RowSampledGradient(share))
    assert np.count_nonzero(weights) == drawn
    np.testing.assert_allclose(weights[weights != 0], rows / drawn, rtol=1e-12)


def test_row_is_drawn_as_often_as_its_size_says() -> None:
    """A row of expected count c is drawn floor(c) or ceil(c) times."""
    sizes = np.array([8.0, 1.0, 1.0, 3.0, 0.5, 2.5])
    expected = 8 * sizes / sizes.sum()
    seen = []
    for step in range(200):
        weights = weights_of(sizes, tfag.RowSampledGradient(0.999, seed=2), step)
        # M = 5 of 6 rows.
        count = weights * 5 * sizes / sizes.sum()
        np.testing.assert_allclose(count, np.round(count), atol=1e-9)
        assert round(count.sum()) == 5
        seen.append(np.round(count))
    expected = 5 * sizes / sizes.sum()
    assert np.all(np.min(seen, 0) == np.floor(expected))
    assert np.all(np.max(seen, 0) == np.ceil(expected))


def test_large_rows_are_kept_once_and_the_rest_is_sampled() -> None:
    sizes = np.array([1000.0, 1.0, 2.0, 50.0, 1.0, 1.5, 0.0, 2.5, 1.0, 1.0])
    method = tfag.RowSampledGradient(0.5, keep_largest=True)
    for step in range(50):
        weights = weights_of(sizes, method, step)
        np.testing.assert_allclose(weights[[0, 3]], 1, rtol=1e-12)
        assert weights[6] == 0
        rest = np.delete(weights * sizes, [0, 3])
        # Three draws of the others' sum, 10, give each drawn row a third of it.
        np.testing.assert_allclose(rest[rest != 0], 10 / 3, rtol=1e-12)
        assert np.count_nonzero(rest) == 3


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_output_gradient_gives_zeros(dtype: str, variant: str) -> None:
    problem = Problem(dtype=dtype)
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(0.5, **VARIANTS[variant])
    actual = filter_gradient(problem, x, np.zeros_like(dy), method, 0)
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("keep_largest", [False, True])
@pytest.mark.parametrize("data_format", FORMATS)
def test_rows_of_zeros_are_never_drawn(data_format: str, keep_largest: bool) -> None:
    """Where they are, X is infinite: to draw one would show."""
    problem = Problem((1, 1), n=3, size=(6, 5), data_format=data_format)
    x, dy = problem.arrays()
    for view in (to_nhwc(x, data_format), to_nhwc(dy, data_format)):
        view[0, :2] = view[1, 3, 1:4] = view[2, 5, 4] = 0
    to_nhwc(x, data_format)[to_nhwc(dy, data_format)[..., 0] == 0] = np.inf
    for step in range(20):
        method = tfag.RowSampledGradient(0.9, keep_largest=keep_largest)
        assert np.isfinite(filter_gradient(problem, x, dy, method, step)).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["float32", "half"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("data_format", FORMATS)
def test_non_finite_output_gradient_shows_everywhere(
    value: float, dtype: str, variant: str, data_format: str
) -> None:
    problem = Problem(n=3, ci=17, co=19, dtype=dtype, data_format=data_format)
    x, dy = problem.arrays()
    to_nhwc(dy, data_format)[1, 2, 3, 4] = value
    method = tfag.RowSampledGradient(0.01, **VARIANTS[variant])
    assert not np.isfinite(filter_gradient(problem, x, dy, method, 0)).any()


def test_magnitudes_near_the_limits_of_float32_are_drawn_alike() -> None:
    problem = Problem(n=3)
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(0.25)
    plain = filter_gradient(problem, x, dy, method, 0)
    for factor in (2.0**-100, 2.0**110):
        scaled = filter_gradient(problem, x, dy * np.float32(factor), method, 0)
        np.testing.assert_array_equal(scaled, plain * np.float32(factor))


def test_number_is_a_function_of_seed_layer_and_step() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(1, 2, 300)
    problem = Problem((1, 1), n=1, size=(1, 300), ci=1, co=1, dtype="float64")
    drawn = {}
    for seed in (0, -1, 2**62 + 5):
        for step in (0, 1, 2**32, 2**40 + 7):
            method = tfag.RowSampledGradient(0.1, seed=seed)
            weights = weights_of(sizes, method, step)
            expected = row_weights(
                problem,
                np.ones([1, 1, 300, 1]),
                sizes.reshape(1, 1, 300, 1),
                0.1,
                uniform(seed, 0, step),
            )
            np.testing.assert_allclose(weights, expected, rtol=1e-12)
            drawn[tuple(np.flatnonzero(weights))] = (seed, step)
    assert len(drawn) == 12


def test_numbers_are_uniform() -> None:
    """Kolmogorov and Smirnov's distance, at their 1 in 20,000."""
    numbers = np.sort(
        [uniform(3, layer, step) for layer in (1, 2) for step in range(500)]
    )
    rank = np.arange(1000) / 1000
    assert np.max(np.abs(numbers - rank)) < 2.3 / math.sqrt(1000)


def test_layers_draw_different_rows() -> None:
    step = tf.Variable(3, dtype=tf.int64)
    sizes = np.random.default_rng(0).uniform(1, 2, (1, 1, 64, 1)).astype(np.float32)
    x = np.eye(64, dtype=np.float32).reshape(1, 1, 64, 64)
    convolutions = [keras.layers.Conv2D(1, 1, use_bias=False) for _ in range(2)]
    inputs = keras.Input((1, 64, 64))
    model = keras.Model(inputs, [layer(inputs) for layer in convolutions])
    model = tfag.approximate_gradients(
        model, tfag.Constant(tfag.RowSampledGradient(seed=1))
    )
    tfag.bind_step(model, step)
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = sum(tf.reduce_sum(output * sizes) for output in outputs)
    gradients = tape.gradient(loss, [weight.value for weight in model.weights])
    rows = [tuple(np.flatnonzero(gradient)) for gradient in gradients]
    assert len(rows) == 2
    assert rows[0] != rows[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.25, 1])
@pytest.mark.parametrize("scale", [-0.5, "batch"])
def test_scale_multiplies_the_gradient(
    scale: float | str, share: float, dtype: str
) -> None:
    problem = Problem(n=4, dtype=dtype)
    x, dy = problem.arrays()
    plain = filter_gradient(problem, x, dy, tfag.RowSampledGradient(share), 1)
    method = tfag.RowSampledGradient(share, scale)
    factor = 0.25 if scale == "batch" else scale
    np.testing.assert_array_equal(
        filter_gradient(problem, x, dy, method, 1),
        plain * plain.dtype.type(factor),
    )


@pytest.mark.parametrize("variant", slowly_but(["norm", "product, largest"], VARIANTS))
@pytest.mark.parametrize("data_format", ["NHWC", *slowly("NCHW")])
def test_unknown_shapes_give_the_same(data_format: str, variant: str) -> None:
    problem = Problem((2, 3), strides=(2, 1), n=3, data_format=data_format)
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(0.3, **VARIANTS[variant])
    unknown = tf.TensorSpec([None] * 4, tf.float32)

    @tf.function(input_signature=[unknown, tf.TensorSpec([4], tf.int32), unknown])
    def compute(x: tf.Tensor, sizes: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x, sizes, dy, method=method, step=9, **problem.function_arguments()
        )

    np.testing.assert_allclose(
        compute(x, problem.filter_sizes, dy),
        filter_gradient(problem, x, dy, method, 9),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("data_format", FORMATS)
def test_input_without_rows_gives_zeros(data_format: str) -> None:
    problem = Problem(padding=((3, 3), (3, 3)), size=(0, 4), data_format=data_format)
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.RowSampledGradient(), 0)
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


def test_variance_is_least_for_the_product_of_the_norms() -> None:
    problem = Problem(n=4, size=(8, 8), dtype="float64")
    x, dy = problem.arrays()
    scales = np.exp(np.random.default_rng(3).normal(size=(2, 4, 8, 8, 1)))
    x, dy = x * scales[0], dy * scales[1] ** 2
    exact = problem.dense_gradient(x, dy)

    def error(**variant) -> float:
        return np.mean(
            [
                np.sum((gradient - exact) ** 2)
                for gradient in (
                    filter_gradient(
                        problem, x, dy, tfag.RowSampledGradient(0.125, **variant), step
                    )
                    for step in range(200)
                )
            ]
        )

    norm, product = error(), error(probability="product")
    assert product < norm
    assert error(keep_largest=True) < norm
    assert error(probability="product", keep_largest=True) < product
    # What a draw of independent rows would have: the sum of terms^2 / probability.
    size = row_sizes(problem, x, dy, "product")
    assert product < size.sum() ** 2 / 32
