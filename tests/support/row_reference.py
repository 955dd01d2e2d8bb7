"""The slow float64 NumPy truth for the row-sampled gradient.

A row is one position of one example, r = n*P + p. Like `reference`, written from the
mathematics and with none of the package's code.
"""

import math

import ml_dtypes
import numpy as np
import tensorflow as tf
from philox import philox
from reference import Problem

ROWS, TILES = 0x524F5753, 0x54494C45  # "ROWS" and "TILE"

# The method's arguments for each way to draw.
VARIANTS = {
    "norm": {},
    "product": {"probability": "product"},
    "largest": {"keep_largest": True},
    "product, largest": {"probability": "product", "keep_largest": True},
}


def uniform(seed: int, layer: int, step: int, stream: int = ROWS) -> float:
    """The number in [0, 1) that a call draws."""
    step %= 2**64
    counter = np.array([0, layer, step % 2**32, step >> 32], np.uint64)
    words = philox(seed % 2**64 ^ stream << 32, counter)
    return ((int(words[0]) << 32 | int(words[1])) >> 11) / 2**53


def row_sizes(problem: Problem, x: np.ndarray, dy: np.ndarray, probability: str):
    """q[r]: ||dY[r]||, times ||patch(r)|| for "product"."""
    size = np.linalg.norm(problem.channels(dy), axis=2).ravel()
    if probability == "product":
        seen = problem.patches(x).reshape(problem.n, problem.positions, -1)
        size = size * np.linalg.norm(seen, axis=2).ravel()
    return size


def lower_largest(size: np.ndarray, draws: int) -> np.ndarray:
    """q lowered to the limit at which the largest rows are drawn just once."""
    limit = math.inf
    for _ in range(8):
        others = size[size < limit].sum()
        left = draws - np.sum(size >= limit)
        if left <= 0 or others == 0:
            break
        limit = min(others / left, limit)
    return np.minimum(size, limit)


def row_weights(
    problem: Problem,
    x: np.ndarray,
    dy: np.ndarray,
    share: float,
    number: float,
    probability: str = "norm",
    keep_largest: bool = False,
) -> np.ndarray:
    """The weight [N*P] of every row, zero where it isn't drawn."""
    size = row_sizes(problem, x, dy, probability)
    return drawn_weights(size, share, number, keep_largest)


def tile_weights(
    problem: Problem, x: np.ndarray, dy: np.ndarray, share: float, number: float
) -> np.ndarray:
    """The weight [N*P] of every row, that of its tile of 4x4."""
    squares = [
        np.sum(np.square(values), axis=-1).reshape(problem.n, *problem.output_size)
        for values in (
            problem.channels(dy),
            problem.patches(x).reshape(problem.n, problem.positions, -1),
        )
    ]
    rows, cols = problem.output_size
    starts = np.arange(0, rows, 4), np.arange(0, cols, 4)
    of_output, of_patches = (
        np.add.reduceat(np.add.reduceat(s, starts[0], axis=1), starts[1], axis=2)
        for s in squares
    )
    weights = drawn_weights(
        np.sqrt(of_output * of_patches).ravel(), share, number, True
    )
    of_maps = weights.reshape(of_output.shape).repeat(4, axis=1).repeat(4, axis=2)
    return of_maps[:, :rows, :cols].ravel()


def drawn_weights(
    size: np.ndarray, share: float, number: float, keep_largest: bool
) -> np.ndarray:
    """The weights of what is drawn by its size q, zero of the rest.

    Row r is drawn floor(M*C[r]/Q + u) - floor(M*C[r-1]/Q + u) times.
    """
    draws = max(1, math.floor(share * size.size))
    if keep_largest:
        size = lower_largest(size, draws)
        draws = min(draws, np.count_nonzero(size))
    total = size.sum()
    weights = np.zeros(size.size)
    if total == 0:
        return weights
    ends = np.floor(draws * (np.cumsum(size) / total) + number)
    times = np.diff(np.minimum(ends, draws), prepend=0)
    drawn = times > 0
    weights[drawn] = times[drawn] * total / (draws * size[drawn])
    return weights


def row_sampled_variance(
    problem: Problem,
    x: np.ndarray,
    dy: np.ndarray,
    share: float,
    probability: str = "norm",
    keep_largest: bool = False,
) -> float:
    """E|a - g|^2 of rows drawn independently: with e[r] = M*q[r]/Q expected draws,
    floor(e[r]) times or once more.
    """
    size = row_sizes(problem, x, dy, probability)
    draws = max(1, math.floor(share * size.size))
    if keep_largest:
        size = lower_largest(size, draws)
        draws = min(draws, np.count_nonzero(size))
    if size.sum() == 0:
        return 0.0
    terms = row_sizes(problem, x, dy, "product")[size > 0] ** 2
    expected = draws * size[size > 0] / size.sum()
    fraction = expected - np.floor(expected)
    return float(np.sum(fraction * (1 - fraction) / expected**2 * terms))


def row_sampled_gradient(
    problem: Problem, x: np.ndarray, dy: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """dF in float64 from the weights of the rows."""
    rows = weights.reshape(problem.n, problem.positions, 1) * problem.channels(dy)
    return np.tensordot(problem.patches(x), rows, ((0, 1), (0, 1)))


def row_sampled_error(
    problem: Problem, x: np.ndarray, dy: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """How far a right kernel may be from `row_sampled_gradient`, per element of dF.

    With u the accumulator's unit roundoff, a weighted row of dY is rounded once, the
    products once, and a sum of m terms in any order is off by at most m*u times the
    sum of their magnitudes; 4 covers a scale and the weights. The result is rounded
    once more, to dY's type. For float64 the reference and the weights, which sums of
    all rows decide, are off as well.
    """
    rows = np.abs(weights.reshape(problem.n, problem.positions, 1))
    rows = rows * np.abs(problem.channels(dy))
    size = np.tensordot(np.abs(problem.patches(x)), rows, ((0, 1), (0, 1)))
    terms = np.count_nonzero(weights) + 8
    if problem.dtype == "float64":
        return 2 * (terms + weights.size) * 2.0**-53 * size
    error = terms * 2.0**-24 * size
    info = ml_dtypes.finfo(tf.as_dtype(problem.dtype).as_numpy_dtype)
    exact = np.abs(row_sampled_gradient(problem, x, dy, weights))
    smallest = max(float(info.smallest_subnormal), 2.0**-126)
    return error + float(info.eps) / 2 * (exact + error) + smallest
