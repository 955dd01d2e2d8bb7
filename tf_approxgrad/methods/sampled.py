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

    For each (n, co), with S the sum of |dY[n,p,co]| over the positions p, k positions
    are drawn, p with a probability proportional to |dY[n,p,co]|:

    `dF[:,:,:,co] = scale * sum_n sum over drawn p of
    sign(dY[n,p,co]) * S/k * patch(Xp[n], p)`

    With scale = 1 the mean over many steps is the exact gradient; a larger k lowers the
    variance. Where S = 0 nothing is drawn, and k = Ho*Wo is the exact gradient itself.
    A NaN or an infinity in dY shows in its channel of dF.

    The draw is systematic: with C the running sum of |dY| and u one uniform number in
    [0, 1) for each (n, co), p is drawn `floor(k*C[p]/S + u) - floor(k*C[p-1]/S + u)`
    times. So p is drawn at least once if |dY[p]| >= S/k, and never twice if
    |dY[p]| < S/k. u is a pure function of (seed, layer, step, n, co) from a
    counter-based generator (Philox): the same run twice draws the same positions, on
    any number of threads and on a GPU.

    Args:
        k: the number of positions drawn for each (n, co): an integer >= 1, where more
            than Ho*Wo means Ho*Wo; or a float greater than 0 and less than 1, the
            share of the Ho*Wo positions, of which the nearest whole number is drawn,
            but at least 1. `k=0.01` draws one position in a hundred.
        scale: the factor of the whole gradient: a finite number, or "batch" for 1/N,
            with N the batch size at run time.
        seed: an integer from -2**63 to 2**63 - 1.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if k is neither an integer >= 1 nor a share, scale is NaN, infinite
            or an unknown word, or seed is out of range.

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
