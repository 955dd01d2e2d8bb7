"""The gradient methods: how the filter gradient of one layer is computed at one step.

A method is a description and nothing else: a small immutable value that can be
compared, hashed, printed and serialised. The operations read it.

The methods and their mathematics are from Wang and Nelaturu, "Accelerated CNN
Training Through Gradient Approximation" (2019), called "the paper" below. The
letters are those of the paper and of TensorFlow: the filter gradient dF
`[KH, KW, Ci, Co]` is made from the input X `[N, H, W, Ci]` and the output gradient
dY `[N, Ho, Wo, Co]`; p is a position, one spatial index of dY.
"""

import abc
import dataclasses
import numbers
from typing import Any, ClassVar, TypeAlias, TypeVar

import keras

from tf_approxgrad.checks import check_finite, check_integer

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

Method = TypeVar("Method", bound="GradientMethod")


class GradientMethod(abc.ABC):
    """How the filter gradient of one layer is computed at one step.

    The base class of all methods. A method is a frozen dataclass whose fields are
    its parameters, each with a default: comparing, hashing, `get_config` and `label`
    all follow from the fields.

    Example:

    >>> import tf_approxgrad as tfag
    >>> method = tfag.MaxGradient(k=4)
    >>> method == tfag.MaxGradient.from_config(method.get_config())
    True
    >>> method.label
    'max(k=4)'
    """

    # True for a method whose result depends on the number of the training step.
    needs_step: ClassVar[bool] = False
    # True for a method that XLA can compile. A layer with one that it can't makes Keras
    # train the model without XLA.
    supports_jit: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The method's name, as `tf_approxgrad.methods.get` accepts it."""

    @property
    def label(self) -> str:
        """Short text for tables and logs: the name, and what isn't default.

        For example "full", "max", "max(k=4)" or "random(stddev=0.5, seed=3)".
        """
        config = self.get_config()
        changed = [
            f"{field.name}={config[field.name]!r}"
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if config[field.name] != field.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, as values that JSON can hold."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_config(cls: type[Method], config: dict[str, Any]) -> Method:
        """Builds the method from what `get_config` returned.

        Args:
            config: the constructor's arguments by name.

        Returns:
            A method equal to the one that `get_config` was called on.

        Raises:
            TypeError, ValueError: as the constructor does.
        """
        return cls(**config)


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
        object.__setattr__(self, "k", _check_k(self.k))
        object.__setattr__(self, "scale", _check_scale(self.scale))


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
        object.__setattr__(self, "k", _check_k(self.k))
        object.__setattr__(self, "scale", _check_scale(self.scale))
        seed = check_integer("seed", self.seed, INT64_MIN, INT64_MAX)
        object.__setattr__(self, "seed", seed)


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class RowSampledGradient(GradientMethod):
    """The filter gradient from a random share of the rows, unbiased.

    A row r = (n, p) is one position of one example: its vector dY[r,:] over the output
    channels and its patch of X. With R = N*Ho*Wo rows, M = max(1, floor(share*R)) of
    them are drawn for all output channels together, row r with a probability
    proportional to q[r]. With Q the sum of q:

    `dF = scale * sum over drawn r of Q / (M*q[r]) * patch(r) outer dY[r,:]`

    With scale = 1 the mean over many steps is the exact gradient. Rows with q[r] = 0
    add nothing to the exact gradient and are never drawn. A NaN or an infinity in dY
    makes all of dF NaN. share = 1 is the exact gradient.

    The draw is systematic: with C the running sum of q and u one uniform number in
    [0, 1), row r is drawn `floor(M*C[r]/Q + u) - floor(M*C[r-1]/Q + u)` times. u is a
    pure function of (seed, layer, step) from a counter-based generator (Philox), so
    the same run twice draws the same rows.

    Source: column-row sampling as in Drineas, Kannan and Mahoney, "Fast Monte Carlo
    Algorithms for Matrices I" (2006).

    Args:
        share: the share of the rows that is drawn, from more than 0 to 1.
        scale: the factor of the whole gradient: a finite number, or "batch" for 1/N,
            with N the batch size at run time.
        seed: an integer from -2**63 to 2**63 - 1.
        probability: "norm" for q[r] = ||dY[r,:]||; or "product" for
            ||dY[r,:]|| * ||patch(r)||, which has the least variance and reads all of
            X once more. There a NaN or an infinity in X makes all of dF NaN, too.
        keep_largest: True to take the largest rows exactly, once and with weight 1,
            and to sample the rest: q[r] is lowered to a limit, the same for all rows,
            at which no row would be drawn more than once. It lowers the variance where
            a few rows have much of the gradient. No more rows are drawn than have
            q[r] > 0.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if share isn't in (0, 1], scale is NaN, infinite or an unknown
            word, seed is out of range, or probability is an unknown word.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.RowSampledGradient().label
    'row-sampled'
    >>> tfag.RowSampledGradient(share=0.25, probability="product").label
    "row-sampled(share=0.25, probability='product')"
    """

    share: float = 0.125
    scale: float | str = 1.0
    seed: int = 0
    probability: str = "norm"
    keep_largest: bool = False

    name = "row-sampled"
    supports_jit = True
    needs_step = True

    def __post_init__(self) -> None:
        allowed = "a number greater than 0 and at most 1"
        share = check_finite("share", self.share, allowed)
        if not 0 < share <= 1:
            raise ValueError(f"share must be {allowed}, got {self.share!r}")
        object.__setattr__(self, "share", share)
        object.__setattr__(self, "scale", _check_scale(self.scale))
        seed = check_integer("seed", self.seed, INT64_MIN, INT64_MAX)
        object.__setattr__(self, "seed", seed)
        message = f'probability must be "norm" or "product", got {self.probability!r}'
        if not isinstance(self.probability, str):
            raise TypeError(f"{message} ({type(self.probability).__name__})")
        if self.probability not in ("norm", "product"):
            raise ValueError(message)
        if not isinstance(self.keep_largest, bool):
            raise TypeError(
                f"keep_largest must be True or False, got {self.keep_largest!r} "
                f"({type(self.keep_largest).__name__})"
            )


def _check_k(k: Any) -> int | float:
    """Returns `k` as an int, or as a float if it is a share, or raises an error."""
    allowed = "an integer >= 1 or a float greater than 0 and less than 1"
    if isinstance(k, numbers.Integral):
        # The upper limit is that of the operation's int64 attribute.
        return check_integer("k", k, 1, INT64_MAX)
    share = check_finite("k", k, allowed)
    if not 0 < share < 1:
        raise ValueError(f"k must be {allowed}, got {k!r}")
    return share


def _check_scale(scale: Any) -> float | str:
    """Returns `scale` if it is "batch", else as a float, or raises an error."""
    allowed = '"batch" (1/N) or a finite number'
    if not isinstance(scale, str):
        return check_finite("scale", scale, allowed)
    if scale != "batch":
        raise ValueError(f"scale must be {allowed}, got {scale!r}")
    return scale


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
    if isinstance(identifier, GradientMethod):
        return identifier
    message = (
        f"method must be a GradientMethod, one of {', '.join(map(repr, _DEFAULTS))}, "
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


def defaults() -> tuple[GradientMethod, ...]:
    """Returns every method of the package, with its default arguments.

    Example:

    >>> from tf_approxgrad import methods
    >>> [method.label for method in methods.defaults()][:2]
    ['full', 'zero']
    """
    return tuple(_DEFAULTS.values())
