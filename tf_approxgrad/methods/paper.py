"""The methods of Wang and Nelaturu, "Accelerated CNN Training Through Gradient
Approximation" (2019): zero, random and max.
"""

import dataclasses

import keras

from tf_approxgrad.methods.base import (
    INT64_MAX,
    INT64_MIN,
    GradientMethod,
    check_k,
    check_scale,
)
from tf_approxgrad.utils.checks import check_finite, check_integer


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class ZeroGradient(GradientMethod):
    """No filter gradient: `dF = 0`, and nothing is computed.

    Source: the paper's "zero gradient".

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.ZeroGradient().label
    'zero'
    """

    name = "zero"
    supports_jit = True


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class RandomGradient(GradientMethod):
    """A random filter gradient that reads neither X nor dY.

    The elements of dF are independent draws from Normal(0, stddev), drawn afresh at
    every step. They are a pure function of (seed, layer, step) from a counter-based
    generator (Philox), so the same run twice gives the same numbers. The layer is its
    index. Where a model is made of several converted ones, so that layers share an
    index, the first draws by it and each other by the next number that is no index.

    Source: the paper's "random gradient", which uses 1/N as the deviation.

    Args:
        stddev: the standard deviation, finite and >= 0. None means 1/N, with N the
            batch size at run time.
        seed: an integer from -2**63 to 2**63 - 1.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if stddev is negative, NaN or infinite, or seed out of range.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.RandomGradient(stddev=0.5, seed=3).label
    'random(stddev=0.5, seed=3)'
    """

    stddev: float | None = None
    seed: int = 0

    name = "random"
    supports_jit = True
    needs_step = True

    def __post_init__(self) -> None:
        if self.stddev is not None:
            allowed = "None (1/N) or a finite number >= 0"
            stddev = check_finite("stddev", self.stddev, allowed, low=0.0)
            object.__setattr__(self, "stddev", stddev)
        seed = check_integer("seed", self.seed, INT64_MIN, INT64_MAX)
        object.__setattr__(self, "seed", seed)


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class MaxGradient(GradientMethod):
    """The filter gradient from the k positions where |dY| is largest.

    For each (n, co) only the k positions with the largest |dY[n,p,co]| are kept, the
    lowest flattened p first on ties, each with a weight w:

    `dF[:,:,:,co] = scale * sum_n sum_{p in kept} w[n,p,co] * patch(Xp[n], p)`

    With r the sum of dY[n,:,co] over all positions minus the sum over the kept ones,
    w[p] = dY[p] + r/k. So each channel's sum is preserved for every k; k = 1 gives
    the one position kept the whole (signed) sum; and k = Ho*Wo with scale = 1 is the
    exact gradient. The choice of positions is deterministic, so for smaller k the
    result is biased.

    Source: the paper's Algorithm 1, which is k = 1 and scale = "batch". k > 1 is the
    extension that the paper leaves for later.

    Args:
        k: the number of positions kept for each (n, co): an integer >= 1, where more
            than Ho*Wo means Ho*Wo; or a float greater than 0 and less than 1, the
            share of the Ho*Wo positions, of which the nearest whole number is kept,
            but at least 1. `k=0.01` keeps one position in a hundred.
        scale: the factor of the whole gradient: "batch" for 1/N, with N the batch
            size at run time, or a finite number.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if k is neither an integer >= 1 nor a share, or scale is NaN,
            infinite or an unknown word.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.MaxGradient().label, tfag.MaxGradient(k=4, scale=0.5).label
    ('max', 'max(k=4, scale=0.5)')
    """

    k: int | float = 1
    scale: float | str = "batch"

    name = "max"
    supports_jit = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_k(self.k))
        object.__setattr__(self, "scale", check_scale(self.scale))
