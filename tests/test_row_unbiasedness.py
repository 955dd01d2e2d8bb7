"""The mean of the row-sampled gradient over many steps is the exact gradient."""

import itertools

import numpy as np
import pytest
from reference import Problem
from unbiasedness import gradients, is_unbiased

import tf_approxgrad as tfag

VARIANTS = {
    "norm": {},
    "product": {"probability": "product"},
    "largest": {"keep_largest": True},
    "product, largest": {"probability": "product", "keep_largest": True},
}


def uneven_problem() -> tuple[Problem, np.ndarray, np.ndarray]:
    """Rows of very different sizes, whose patches differ as much."""
    problem = Problem(n=3, size=(6, 5), ci=2, co=3, strides=(1, 2))
    x, dy = problem.arrays()
    rng = np.random.default_rng(5)
    x *= np.exp(rng.normal(size=x.shape[:3]))[..., None].astype(np.float32)
    dy *= np.exp(1.5 * rng.normal(size=dy.shape[:3]))[..., None].astype(np.float32)
    return problem, x, dy


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_mean_over_many_steps_is_the_exact_gradient(share: float, variant: str) -> None:
    problem, x, dy = uneven_problem()
    method = tfag.RowSampledGradient(share, seed=1, **VARIANTS[variant])
    draws = gradients(problem, x, dy, method)
    assert draws.std(axis=0).min() > 0
    assert is_unbiased(draws, problem.dense_gradient(x, dy))


def test_the_check_finds_a_bias_of_a_few_percent() -> None:
    problem, x, dy = uneven_problem()
    draws = gradients(problem, x, dy, tfag.RowSampledGradient(0.3, scale=1.1))
    assert not is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("k", [1, 4])
def test_max_fails_the_check(k: int) -> None:
    problem, x, dy = uneven_problem()
    draws = gradients(problem, x, dy, tfag.MaxGradient(k, scale=1.0))
    assert not is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("variant", VARIANTS)
def test_variance_falls_as_the_share_grows(variant: str) -> None:
    problem, x, dy = uneven_problem()
    exact = problem.dense_gradient(x, dy)
    errors = [
        np.mean((gradients(problem, x, dy, method) - exact) ** 2)
        for method in (
            tfag.RowSampledGradient(share, **VARIANTS[variant])
            for share in (0.05, 0.1, 0.2, 0.4, 0.8)
        )
    ]
    assert all(more < 0.75 * less for less, more in itertools.pairwise(errors))
