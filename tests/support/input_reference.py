"""The slow float64 NumPy truth for the input gradients.

Like `reference`, written from the mathematics and with none of the package's code. A
method replaces dY by rows dY' [N, P, Co], and the input gradient is the exact one of
these.
"""

import numpy as np
import tensorflow as tf
from reference import Problem, from_nhwc, keep_largest


def filters_of(problem: Problem, seed: int = 1) -> np.ndarray:
    """Filters [KH, KW, Ci, Co], rounded to the problem's dtype."""
    values = np.random.default_rng(seed).standard_normal(problem.filter_sizes)
    return values.astype(tf.as_dtype(problem.dtype).as_numpy_dtype)


def exact_of_rows(
    problem: Problem, filters: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The exact input gradient of dY' [N, P, Co], in float64 and the problem's layout.

    dX[n, row*sh + kh*dh - top, col*sw + kw*dw - left] is the sum of F[kh, kw] dY'[n, p]
    over all taps and positions.
    """
    (top, bottom), (left, right) = problem.pads
    height, width = problem.size
    padded = np.zeros(
        (problem.n, top + height + bottom, left + width + right, problem.ci)
    )
    product = np.einsum("npo,hwio->nphwi", rows, filters.astype(np.float64))
    columns = problem.output_size[1]
    for p in range(problem.positions):
        row, col = divmod(p, columns)
        for kh in range(problem.kernel[0]):
            for kw in range(problem.kernel[1]):
                y = row * problem.strides[0] + kh * problem.dilations[0]
                x = col * problem.strides[1] + kw * problem.dilations[1]
                padded[:, y, x] += product[:, p, kh, kw]
    inside = padded[:, top : top + height, left : left + width]
    return from_nhwc(inside, problem.data_format)


def max_rows(problem: Problem, dy: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that `max` leaves, and what bounds their error, both [N, P, Co]."""
    channels = problem.channels(dy)
    rows, bounds = np.zeros_like(channels), np.zeros_like(channels)
    for n in range(problem.n):
        for co in range(problem.co):
            one = channels[n, :, co]
            kept, weights = keep_largest(one, k)
            rows[n, kept, co] = weights
            bounds[n, kept, co] = np.abs(one[kept]) + 2 * np.abs(one).sum() / k
    return rows, bounds


def allowed_error(
    problem: Problem, filters: np.ndarray, rows: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """How far a right result may be from `exact_of_rows`, per element of dX.

    As `Problem.max_error`: with u the accumulator's unit roundoff, a weight is off by
    (P + k + 4)*u of `bounds`, and a sum of m products by (m + 1)*u of their magnitudes,
    where m is at most KH*KW*Co, and KH*KW*P if rows are added one by one. 4*u is left
    for a scale. The result is rounded once more, to dY's type.
    """
    u = 2.0**-53 if problem.dtype == "float64" else 2.0**-24
    kernel = problem.kernel[0] * problem.kernel[1]
    terms = kernel * (problem.co + problem.positions) + 2 * problem.positions + 8
    size = exact_of_rows(problem, np.abs(filters), np.maximum(bounds, np.abs(rows)))
    exact = exact_of_rows(problem, filters, rows)
    return problem.with_rounding(terms * u * size, exact)
