"""Whether the mean of many drawn gradients is the exact one."""

import dataclasses
import statistics
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from reference import Problem, from_nhwc

import tf_approxgrad as tfag

DRAWS = 2000
# One run in a thousand may fail by chance; the seeds are fixed, so that none does.
FALSE_ALARMS = 1e-3


def uneven_problem(
    data_format: str = "NHWC", dtype: str = "float32", *, by_rows: bool = False
) -> tuple[Problem, np.ndarray, np.ndarray]:
    """Positions of very different sizes, whose patches differ as much.

    X isn't around zero: there a bias of all weights would cancel out. `by_rows` gives
    all channels of a position the same size.
    """
    problem = Problem(n=3, size=(6, 5), ci=2, co=3, strides=(1, 2))
    x, dy = problem.arrays()
    rng = np.random.default_rng(5)
    x = (x + 1) * np.exp(rng.normal(size=(*x.shape[:3], 1)))
    sizes = (*dy.shape[:3], 1) if by_rows else dy.shape
    dy *= np.exp(1.5 * rng.normal(size=sizes))
    problem = dataclasses.replace(problem, data_format=data_format, dtype=dtype)
    return problem, *(from_nhwc(a.astype(dtype), data_format) for a in (x, dy))


def gradients(
    problem: Problem,
    x: np.ndarray,
    dy: np.ndarray,
    method: tfag.GradientMethod,
    draws: int = DRAWS,
) -> np.ndarray:
    """The filter gradients of many steps, [draws, KH, KW, Ci, Co]."""

    def compute(step: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x,
            problem.filter_sizes,
            dy,
            method=method,
            step=step,
            **problem.function_arguments(),
        )

    return of_many_steps(compute, draws)


def of_many_steps(
    compute: Callable[[tf.Tensor], tf.Tensor], draws: int = DRAWS
) -> np.ndarray:
    """What a function makes of steps 0, 1, ..., in float64."""
    compute = tf.function(compute)
    steps = tf.range(draws, dtype=tf.int64)
    return np.stack([compute(step) for step in steps]).astype(np.float64)


def is_unbiased(draws: np.ndarray, exact: np.ndarray) -> bool:
    """Whether every element's mean lies in its confidence interval of `exact`.

    The intervals are those of all elements together (Bonferroni). float32 sums get
    what they may be off by.
    """
    deviations = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    width = statistics.NormalDist().inv_cdf(1 - FALSE_ALARMS / 2 / exact.size)
    rounding = 1e-5 * np.abs(exact).max()
    return bool(
        np.all(np.abs(draws.mean(axis=0) - exact) <= width * deviations + rounding)
    )
