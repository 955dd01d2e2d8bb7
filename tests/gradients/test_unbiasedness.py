"""The mean of the sampled gradient over many steps is the exact gradient."""

import itertools

import numpy as np
import pytest
from gradients import filter_gradient
from marks import slowly
from unbiasedness import gradients, is_unbiased, uneven_problem

import tf_approxgrad as tfag


@pytest.mark.parametrize("data_format", ["NHWC", *slowly("NCHW")])
@pytest.mark.parametrize("dtype", ["float32", *slowly("float64")])
@pytest.mark.parametrize("k", [5, *slowly(1, 2, 0.5)])
def test_mean_over_many_steps_is_the_exact_gradient(
    k: int | float, dtype: str, data_format: str
) -> None:
    problem, x, dy = uneven_problem(data_format, dtype)
    draws = gradients(problem, x, dy, tfag.SampledGradient(k, seed=1))
    assert draws.std(axis=0).min() > 0
    assert is_unbiased(draws, problem.dense_gradient(x, dy))


def test_mean_over_many_seeds_is_the_exact_gradient() -> None:
    problem, x, dy = uneven_problem()
    methods = [tfag.SampledGradient(2, seed=seed) for seed in range(800)]
    draws = np.stack([filter_gradient(problem, x, dy, each, 7) for each in methods])
    assert draws.std(axis=0).min() > 0
    assert is_unbiased(draws, problem.dense_gradient(x, dy))


def test_the_check_finds_a_bias_of_a_few_percent() -> None:
    problem, x, dy = uneven_problem()
    draws = gradients(problem, x, dy, tfag.SampledGradient(5, scale=1.05))
    assert not is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("k", [1, 4])
def test_max_fails_the_check(k: int) -> None:
    problem, x, dy = uneven_problem()
    draws = gradients(problem, x, dy, tfag.MaxGradient(k, scale=1.0), 100)
    assert not is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.slow
def test_variance_falls_as_k_grows() -> None:
    problem, x, dy = uneven_problem()
    exact = problem.dense_gradient(x, dy)
    errors = [
        np.mean((gradients(problem, x, dy, tfag.SampledGradient(k)) - exact) ** 2)
        for k in (1, 2, 4, 8, 16)
    ]
    assert all(more < 0.75 * less for less, more in itertools.pairwise(errors))


def test_with_all_positions_nothing_is_left_to_chance() -> None:
    problem, x, dy = uneven_problem()
    method = tfag.SampledGradient(problem.positions)
    draws = gradients(problem, x, dy, method, 5)
    assert not draws.std(axis=0).any()
    exact = problem.dense_gradient(x, dy)
    np.testing.assert_allclose(draws[0], exact, rtol=1e-5, atol=1e-5)
