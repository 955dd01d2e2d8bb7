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
    "sampled": (tfag.SampledGradient(seed=3), 5),
    "sampled share": (tfag.SampledGradient(k=0.1, scale="batch", seed=-2), 2**33),
    "row-sampled": (tfag.RowSampledGradient(share=0.3, seed=4), 7),
    "row-sampled product": (
        tfag.RowSampledGradient(0.2, "batch", probability="product", keep_largest=True),
        2,
    ),
}

# Values that dY of one channel gets: example, row, column, value.
NON_FINITE = {
    "NaN": [(1, 0, 0, np.nan)],
    "NaN at the end": [(1, -1, -1, np.nan)],
    "NaN in the middle": [(0, 4, 3, np.nan)],
    "infinity": [(0, 2, 3, np.inf)],
    "infinity in a corner": [(1, 0, 0, np.inf)],
    "minus infinity": [(1, -1, -1, -np.inf)],
    "infinities": [(0, 2, 3, np.inf), (0, 2, 4, np.inf), (0, -1, 0, np.inf)],
    "opposite infinities": [(1, 3, 3, np.inf), (1, 0, 1, -np.inf)],
    "NaN and infinity": [(1, 3, 3, np.inf), (1, 3, 4, np.nan)],
    "both examples": [(0, 3, 3, np.inf), (1, 3, 3, -np.inf)],
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


def weights_of(
    dy: np.ndarray,
    method: tfag.GradientMethod,
    step: Any = 0,
    dtype: str = "float32",
    data_format: str = "NHWC",
) -> np.ndarray:
    """The weights [P, Co] that dY [P, Co] gets: what meets an identity for X."""
    positions, channels = dy.shape
    problem = Problem(
        (1, 1),
        n=1,
        size=(1, positions),
        ci=positions,
        co=channels,
        dtype=dtype,
        data_format=data_format,
    )
    x = np.eye(positions).reshape(1, 1, positions, positions)
    dy = dy.reshape(1, 1, positions, channels)
    if data_format == "NCHW":
        x, dy = x.transpose(0, 3, 1, 2), dy.transpose(0, 3, 1, 2)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    result = filter_gradient(problem, x.astype(kind), dy.astype(kind), method, step)
    return result[0, 0].astype(np.float64)
