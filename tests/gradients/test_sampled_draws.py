"""What the method `sampled` draws: weights, one by one, and their random numbers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient, weights_of
from marks import slowly
from reference import Problem, assert_gradient, draw_in_proportion, uniform_numbers

import tf_approxgrad as tfag

DTYPES = ["float32", "float64", "bfloat16", "half"]
FORMATS = ["NHWC", "NCHW"]


@pytest.mark.parametrize("step", [0, 2**32 - 1, 2**40 + 7, *slowly(1, 2**32)])
@pytest.mark.parametrize("seed", [0, -1, 2**62 + 12345, *slowly(1, -(2**63))])
def test_uniform_numbers_are_those_of_the_description(seed: int, step: int) -> None:
    problem = Problem(n=5, size=(3, 20), co=70)
    x, dy = problem.arrays()
    for dtype in ("float32", "float64"):
        problem = dataclasses.replace(problem, dtype=dtype)
        x, dy = x.astype(dtype), dy.astype(dtype)
        draw = {"k": 2, "seed": seed, "step": step}
        actual = filter_gradient(problem, x, dy, tfag.SampledGradient(2, 1, seed), step)
        expected = problem.sampled_gradient(x, dy, **draw)
        assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


def test_uniform_numbers_do_not_correlate_with_random_numbers() -> None:
    """The random gradient's numbers of the same seed, layer and step: in order of u."""
    u = uniform_numbers(4096, seed=3, layer=0, step=5, bits=53)
    problem = Problem((1, 1), n=1, ci=64, co=256)
    method = tfag.RandomGradient(1.0, seed=3)
    normals = filter_gradient(problem, *problem.arrays(), method, 5).ravel()
    for first in range(0, normals.size, u.size):
        some = normals[first : first + u.size]
        assert abs(np.corrcoef(u, some)[0, 1]) < 4 / np.sqrt(u.size)
        assert abs(np.corrcoef(u, np.abs(some))[0, 1]) < 4 / np.sqrt(u.size)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positions", [3, 5, 16, 17, 64, 199, 1100])
def test_there_are_always_k_draws_and_none_of_a_zero(
    positions: int, dtype: str, data_format: str
) -> None:
    rng = np.random.default_rng(positions)
    dy = rng.standard_normal((positions, 35)) * np.exp(
        3 * rng.standard_normal((positions, 35))
    )
    dy[rng.random(dy.shape) < 0.4] = 0
    dy[-1], dy[0, ::2], dy[1] = 0, 0, 1
    # Within the range of half.
    dy *= 1000 / np.abs(dy).sum(axis=0).max()
    dy = dy.astype(tf.as_dtype(dtype).as_numpy_dtype).astype(np.float64)
    total = np.abs(dy).sum(axis=0)
    assert total.all()
    for k in {1, 2, min(7, positions - 1), positions // 2, positions - 1}:
        method = tfag.SampledGradient(k, seed=k)
        weights = weights_of(dy, method, 1, dtype, data_format)
        tolerance = 1e-2 if dtype in ("bfloat16", "half") else 1e-5
        draws = np.abs(weights) * k / total
        np.testing.assert_allclose(draws.sum(axis=0), k, rtol=tolerance)
        np.testing.assert_allclose(draws, np.round(draws), atol=tolerance * k)
        drawn = weights != 0
        assert np.all(dy[drawn] != 0)
        np.testing.assert_array_equal(np.sign(weights[drawn]), np.sign(dy[drawn]))
        # Systematic: no position less often than k*|dY|/S rounded down, or more often
        # than it rounded up.
        mean = k * np.abs(dy) / total
        assert np.all(draws > mean - 1 - tolerance * k)
        assert np.all(draws < mean + 1 + tolerance * k)


@pytest.mark.parametrize("value", [0.5, -2.0])
def test_equal_values_are_drawn_at_equal_distances(value: float) -> None:
    dy = np.full((60, 9), value)
    for k in (1, 4, 12, 30):
        weights = weights_of(dy, tfag.SampledGradient(k), 3)
        assert np.count_nonzero(weights) == 9 * k
        for column in weights.T:
            (drawn,) = column.nonzero()
            assert np.all(np.diff(drawn) == 60 // k)
            np.testing.assert_allclose(column[drawn], 60 * value / k, rtol=1e-6)


def test_one_large_value_is_drawn_every_time_that_it_takes() -> None:
    dy = np.zeros((50, 6))
    dy[17] = -7
    weights = weights_of(dy, tfag.SampledGradient(5), 1)
    np.testing.assert_allclose(weights, dy, rtol=1e-6)


@pytest.mark.parametrize("method", [tfag.SampledGradient, tfag.MaxGradient])
@pytest.mark.parametrize(
    ("share", "positions", "count"),
    [
        (0.01, 40, 1),
        (0.01, 240, 2),
        (0.1, 10, 1),
        (0.3, 10, 3),
        (0.7, 10, 7),
        (0.24, 10, 2),
        (0.26, 10, 3),
        (0.99999999, 10, 10),
        (1e-300, 10, 1),
    ],
)
def test_share_keeps_the_nearest_number_of_positions(
    method: type[tfag.GradientMethod], share: float, positions: int, count: int
) -> None:
    dy = np.random.default_rng(1).standard_normal((positions, 8))
    expected = weights_of(dy, method(count, scale=1.0))
    np.testing.assert_array_equal(weights_of(dy, method(share, scale=1.0)), expected)
    assert np.all(np.count_nonzero(expected, axis=0) <= count)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_output_gradient_shows_in_every_type(
    value: float, dtype: str
) -> None:
    dy = np.ones((50, 3))
    dy[31, 1] = value
    for k in (1, 5, 50):
        actual = weights_of(dy, tfag.SampledGradient(k), 0, dtype)
        assert not np.isfinite(actual[:, 1]).any()
        assert np.isfinite(actual[:, [0, 2]]).all()


def test_reference_draws_in_proportion() -> None:
    dy = np.array([1.0, -3.0, 0.0, 4.0])
    mean = np.mean(
        [draw_in_proportion(dy, 2, u) for u in (np.arange(1000) + 0.5) / 1000], axis=0
    )
    np.testing.assert_allclose(mean, dy, atol=0.01)
