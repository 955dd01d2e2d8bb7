"""The package's filter gradient of a problem of the reference."""

from typing import Any

import numpy as np
import tensorflow as tf
from reference import Problem

import tf_approxgrad as tfag

METHODS = {
    "full": (tfag.FullGradient(), None),
    "zero": (tfag.ZeroGradient(), None),
    "random": (tfag.RandomGradient(seed=3), 5),
    "max": (tfag.MaxGradient(), None),
    "max k": (tfag.MaxGradient(k=3, scale=0.5), None),
    "row-sampled": (tfag.RowSampledGradient(share=0.3, seed=4), 7),
    "row-sampled product": (
        tfag.RowSampledGradient(0.2, "batch", probability="product", keep_largest=True),
        2,
    ),
}


def filter_gradient(
    problem: Problem, x: Any, dy: Any, method: Any, step: Any = None
) -> np.ndarray:
    result = tfag.conv2d_backprop_filter(
        x,
        problem.filter_sizes,
        dy,
        method=method,
        step=step,
        **problem.function_arguments(),
    )
    assert result.dtype == tf.as_dtype(problem.dtype)
    return result.numpy()
