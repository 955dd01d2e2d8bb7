"""The methods of the paper by Wang and Nelaturu (2019): zero, random and max."""

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
    """No filter gradient: `dF = 0`, without any computation.

    Source: Wang and Nelaturu, "Accelerated CNN Training Through Gradient Approximation"
    (2019), "zero gradient".

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
    every step. They are a pure function of (seed, layer index, step) from a
    counter-based generator (Philox), so runs are reproducible. In a model composed of
    several converted models, layers may share an index: the first draws by it, each
    other by the next unused number.

    Source: Wang and Nelaturu (2019), "random gradient", with standard deviation 1/N.

    Args:
        stddev: Standard deviation, finite and >= 0. None means 1/N, with N the batch
            size at run time.
        seed: Integer from -2**63 to 2**63 - 1.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If stddev is negative, NaN or infinite, or seed out of range.

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
    """The filter gradient from the k positions of largest |dY|, biased.

    For each (n, co), the k positions of largest |dY[n,p,co]| are kept, the lowest
    flattened p first on ties, each with a weight w:

    `dF[:,:,:,co] = scale * sum_n sum_{p in kept} w[n,p,co] * patch(Xp[n], p)`

    with w[p] = dY[p] + r/k, where r is the sum of dY[n,:,co] over the positions that
    aren't kept. The sum of each channel is preserved for every k. For k = 1 the weight
    is the (signed) sum of all positions; k = Ho*Wo with scale = 1 is the exact
    gradient. The choice of positions is deterministic, so a smaller k is biased.

    Source: Wang and Nelaturu (2019), Algorithm 1, which has k = 1 and scale = "batch".

    Args:
        k: Number of positions kept for each (n, co). An integer >= 1, or Ho*Wo if that
            is less; or a float between 0 and 1 (exclusive), a share of the Ho*Wo
            positions, rounded to the nearest integer >= 1. `k=0.01` keeps one position
            in a hundred.
        scale: Factor on the gradient: "batch" for 1/N, with N the batch size at run
            time, or a finite number.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If k is neither an integer >= 1 nor a share, or scale is NaN,
            infinite or an unknown string.

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
