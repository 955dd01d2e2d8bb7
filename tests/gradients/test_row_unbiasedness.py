"""The mean of the row-sampled gradient over many steps is the exact gradient."""

import itertools

import numpy as np
import pytest
from gradients import filter_gradient
from marks import slowly
from row_reference import VARIANTS
from unbiasedness import gradients, is_unbiased, uneven_problem

import tf_approxgrad as tfag

OTHER_VARIANTS = [name for name in VARIANTS if name != "norm"]


@pytest.mark.parametrize("variant", ["norm", *slowly(*OTHER_VARIANTS)])
@pytest.mark.parametrize("share", [0.3, *slowly(0.05)])
def test_mean_over_many_steps_is_the_exact_gradient(share: float, variant: str) -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    method = tfag.RowSampledGradient(share, seed=1, **VARIANTS[variant])
    draws = gradients(problem, x, dy, method)
    assert draws.std(axis=0).min() > 0
    assert is_unbiased(draws, problem.dense_gradient(x, dy))


def test_the_check_finds_a_bias_of_a_few_percent() -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    draws = gradients(problem, x, dy, tfag.RowSampledGradient(0.3, scale=1.05))
    assert not is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("k", [1, 4])
def test_max_fails_the_check(k: int) -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    draws = gradients(problem, x, dy, tfag.MaxGradient(k, scale=1.0), 100)
    assert not is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("variant", ["norm", *slowly(*OTHER_VARIANTS)])
def test_mean_over_many_seeds_is_the_exact_gradient(variant: str) -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    methods = [
        tfag.RowSampledGradient(0.3, seed=seed, **VARIANTS[variant])
        for seed in range(800)
    ]
    draws = np.stack([filter_gradient(problem, x, dy, each, 7) for each in methods])
    assert draws.std(axis=0).min() > 0
    assert is_unbiased(draws, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("variant", slowly(*VARIANTS))
def test_variance_falls_as_the_share_grows(variant: str) -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    exact = problem.dense_gradient(x, dy)
    errors = [
        np.mean((gradients(problem, x, dy, method) - exact) ** 2)
        for method in (
            tfag.RowSampledGradient(share, **VARIANTS[variant])
            for share in (0.05, 0.1, 0.2, 0.4, 0.8)
        )
    ]
    assert all(more < 0.75 * less for less, more in itertools.pairwise(errors))
