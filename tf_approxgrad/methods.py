"""The gradient methods: how the filter gradient of one layer is computed at one step.

A method is a description and nothing else: a small immutable value that can be
compared, hashed, printed and serialised. The operations read it.

The methods here and their mathematics are from Wang and Nelaturu, "Accelerated CNN
Training Through Gradient Approximation" (2019), called "the paper" below. The
letters are those of the paper and of TensorFlow: the filter gradient dF
`[KH, KW, Ci, Co]` is made from the input X `[N, H, W, Ci]` and the output gradient
dY `[N, Ho, Wo, Co]`; p is a position, one spatial index of dY.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeAlias

import keras

from tf_approxgrad.checks import check_finite, check_integer
from tf_approxgrad.method_base import (
    INT64_MAX,
    INT64_MIN,
    GradientMethod,
    check_k,
    check_scale,
)
from tf_approxgrad.sampled_methods import RowSampledGradient, SampledGradient


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class FullGradient(GradientMethod):
    """The exact filter gradient, as TensorFlow computes it.

    `dF[kh,kw,ci,co] = sum_n sum_p dY[n,p,co] * Xp[n, row*sh + kh*dh,
    col*sw + kw*dw, ci]`, with Xp the zero-padded input, (sh, sw) the strides and
    (dh, dw) the dilations.

    Source: `tf.raw_ops.Conv2DBackpropFilter`, which does the work.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.FullGradient().label
    'full'
    """

    name = "full"
    supports_jit = True


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


# What the functions that take a method accept: see `get`.
MethodLike: TypeAlias = GradientMethod | str | dict[str, Any]

_DEFAULTS: dict[str, GradientMethod] = {
    method.name: method
    for method in (
        FullGradient(),
        ZeroGradient(),
        RandomGradient(),
        MaxGradient(),
        SampledGradient(),
        RowSampledGradient(),
    )
}


def get(identifier: MethodLike) -> GradientMethod:
    """Returns a method, as `keras.losses.get` returns a loss.

    Args:
        identifier: a method, which is returned as it is; or a name ("full", "zero",
            "random", "max", "sampled" or "row-sampled"), which gives the method with
            its default arguments; or the dict that
            `keras.saving.serialize_keras_object(method)` returns.

    Returns:
        The method.

    Raises:
        TypeError: if the identifier is none of these types.
        ValueError: if the name is unknown, or the dict doesn't describe a method.

    Example:

    >>> from tf_approxgrad import methods
    >>> methods.get("max")
    MaxGradient(k=1, scale='batch')
    """
    return parse(identifier, "method must be")


def parse(identifier: MethodLike, requirement: str) -> GradientMethod:
    """`get` for an argument of another name.

    Args:
        identifier: as in `get`.
        requirement: how messages begin, such as "input_gradient must be None or".
    """
    if isinstance(identifier, GradientMethod):
        return identifier
    message = (
        f"{requirement} a GradientMethod, one of {', '.join(map(repr, _DEFAULTS))}, "
        f"or a serialised method, got {identifier!r}"
    )
    if isinstance(identifier, str):
        if identifier not in _DEFAULTS:
            raise ValueError(message)
        return _DEFAULTS[identifier]
    if not isinstance(identifier, dict):
        raise TypeError(f"{message} ({type(identifier).__name__})")
    try:
        method = keras.saving.deserialize_keras_object(identifier)
    # Keras raises many types of error for a dict that it can't read.
    except Exception as error:
        raise ValueError(f"{message}, which Keras can't read: {error}") from error
    if not isinstance(method, GradientMethod):
        raise ValueError(message)
    return method


def are_full(methods: Iterable[GradientMethod]) -> bool:
    """Whether all of the methods are exact."""
    return all(isinstance(method, FullGradient) for method in methods)


def defaults() -> tuple[GradientMethod, ...]:
    """Returns every method of the package, with its default arguments.

    Example:

    >>> from tf_approxgrad import methods
    >>> [method.label for method in methods.defaults()][:2]
    ['full', 'zero']
    """
    return tuple(_DEFAULTS.values())
