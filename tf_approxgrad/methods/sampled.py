"""The filter gradient from positions drawn for each example and channel."""

import dataclasses

import keras

from tf_approxgrad.methods.base import (
    INT64_MAX,
    INT64_MIN,
    GradientMethod,
    check_k,
    check_scale,
)
from tf_approxgrad.utils.checks import check_integer


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class SampledGradient(GradientMethod):
    """The filter gradient from k positions drawn in proportion to |dY|, unbiased.

    For each (n, co), k positions are drawn with probabilities proportional to
    |dY[n,p,co]|. With S the sum of |dY[n,p,co]| over the positions p:

    `dF[:,:,:,co] = scale * sum_n sum over drawn p of
    sign(dY[n,p,co]) * S/k * patch(Xp[n], p)`

    With scale = 1 the expectation is the exact gradient; a larger k lowers the
    variance. An (n, co) with S = 0 contributes zero. k = Ho*Wo is the exact gradient
    itself. A NaN or an infinity in dY shows in its channel of dF.

    The draw is systematic: with C the running sum of |dY| and u one uniform number in
    `[0, 1)` for each (n, co), p is drawn `floor(k*C[p]/S + u) - floor(k*C[p-1]/S + u)`
    times: at least once if |dY[p]| >= S/k, at most once if |dY[p]| < S/k. u is a pure
    function of (seed, layer index, step, n, co) from a counter-based generator
    (Philox), so runs are reproducible, on any number of threads and on a GPU.

    Args:
        k: Number of positions drawn for each (n, co). An integer >= 1, or Ho*Wo if that
            is less; or a float between 0 and 1 (exclusive), a share of the Ho*Wo
            positions, rounded to the nearest integer >= 1. `k=0.01` draws one position
            in a hundred.
        scale: Factor on the gradient: a finite number, or "batch" for 1/N, with N the
            batch size at run time.
        seed: Integer from -2**63 to 2**63 - 1.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If k is neither an integer >= 1 nor a share, scale is NaN, infinite
            or an unknown string, or seed is out of range.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.SampledGradient().label, tfag.SampledGradient(k=0.01, seed=3).label
    ('sampled', 'sampled(k=0.01, seed=3)')
    """

    k: int | float = 1
    scale: float | str = 1.0
    seed: int = 0

    name = "sampled"
    supports_jit = True
    needs_step = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_k(self.k))
        object.__setattr__(self, "scale", check_scale(self.scale))
        seed = check_integer("seed", self.seed, INT64_MIN, INT64_MAX)
        object.__setattr__(self, "seed", seed)
