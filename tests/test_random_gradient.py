"""The method `random`: what its numbers depend on, and how they are distributed."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from reference import Problem

import tf_approxgrad as tfag

DTYPES = ["float32", "float64", "bfloat16", "half"]


def random_gradient(
    method: tfag.RandomGradient, step: Any, dtype: str = "float32"
) -> np.ndarray:
    problem = Problem(n=4, size=(4, 3), ci=48, co=64, dtype=dtype)
    return filter_gradient(problem, *problem.arrays(), method, step)


def test_random_is_a_function_of_seed_and_step() -> None:
    method = tfag.RandomGradient(seed=7)
    first = random_gradient(method, 3)
    for step in (3, np.int64(3), tf.constant(3), tf.constant(3, tf.int64)):
        np.testing.assert_array_equal(random_gradient(method, step), first)
    counter = tf.Variable(3, dtype=tf.int64)
    np.testing.assert_array_equal(random_gradient(method, counter), first)
    others = [random_gradient(method, step) for step in (0, 4, 2**31, 2**40 + 3)]
    others += [random_gradient(tfag.RandomGradient(seed=s), 3) for s in (0, 8, -7, 3)]
    for index, other in enumerate(others):
        for earlier in [first, *others[:index]]:
            assert abs(np.corrcoef(earlier.ravel(), other.ravel())[0, 1]) < 0.03
    # Neither the program's seed nor earlier draws have a say.
    tf.random.set_seed(1)
    np.testing.assert_array_equal(random_gradient(method, 3), first)


def test_random_of_one_step_differs_from_another_under_tf_function() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    method = tfag.RandomGradient(seed=1)

    @tf.function
    def draw(step: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x, problem.filter_sizes, dy, 1, "SAME", method=method, step=step
        )

    for step in (0, 1, 9):
        expected = filter_gradient(problem, x, dy, method, step)
        np.testing.assert_array_equal(draw(tf.constant(step)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stddev", [None, 2.5, 0.0])
def test_random_is_normal_with_its_deviation(stddev: float | None, dtype: str) -> None:
    """Each bound is four deviations of the statistic: 1 in 16,000 seeds fails it."""
    numbers = random_gradient(tfag.RandomGradient(stddev, seed=11), 2, dtype)
    numbers = numbers.astype(np.float64).ravel()
    expected = 1 / 4 if stddev is None else stddev  # N = 4
    if not expected:
        assert not numbers.any()
        return
    z = np.sort(numbers / expected)
    count = z.size
    assert abs(z.mean()) < 4 / math.sqrt(count)
    assert abs(z.std() - 1) < 4 / math.sqrt(2 * count)
    assert abs(np.mean(z**3)) < 4 * math.sqrt(15 / count)
    assert abs(np.mean(z**4) - 3) < 4 * math.sqrt(96 / count)
    # Kolmogorov and Smirnov's distance, at their 1 in 20,000.
    normal = np.array([math.erf(value / math.sqrt(2)) / 2 + 0.5 for value in z])
    rank = np.arange(count) / count
    distance = max(np.max(normal - rank), np.max(rank + 1 / count - normal))
    rounding = {"bfloat16": 0.002, "half": 0.0003}.get(dtype, 0)
    assert distance < 2.3 / math.sqrt(count) + rounding


def test_random_elements_are_independent() -> None:
    numbers = random_gradient(tfag.RandomGradient(seed=5), 0).reshape(-1, 64)
    bound = 4.5 / math.sqrt(numbers.size)
    for axis in (0, 1):
        rolled = np.roll(numbers, 1, axis)
        assert abs(np.corrcoef(numbers.ravel(), rolled.ravel())[0, 1]) < bound
    assert len(np.unique(numbers)) > 0.99 * numbers.size


@pytest.mark.parametrize("function", ["conv2d", "conv2d_backprop_filter"])
def test_random_without_a_step_is_refused(function: str) -> None:
    x, dy = Problem().arrays()
    call = {
        "conv2d": lambda **options: tfag.conv2d(x, tf.ones([3, 3, 3, 5]), **options),
        "conv2d_backprop_filter": lambda **options: tfag.conv2d_backprop_filter(
            x, [3, 3, 3, 5], dy, **options
        ),
    }[function]
    with pytest.raises(ValueError, match=r"step.*None"):
        call(strides=1, padding="SAME", method=tfag.RandomGradient())
