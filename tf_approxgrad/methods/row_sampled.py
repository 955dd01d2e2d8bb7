"""The filter gradient from rows drawn for all output channels at once."""

import dataclasses

import keras

from tf_approxgrad.methods.base import (
    INT64_MAX,
    INT64_MIN,
    GradientMethod,
    check_scale,
    check_share,
)
from tf_approxgrad.utils.checks import check_integer


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class RowSampledGradient(GradientMethod):
    """The filter gradient from a random share of the rows, unbiased.

    A row r = (n, p) is one position of one example: its vector dY[r,:] over the output
    channels and its patch of X. Of the R = N*Ho*Wo rows, M = max(1, floor(share*R)) are
    drawn, shared by all output channels, with probabilities proportional to q[r]. With
    Q the sum of q:

    `dF = scale * sum over drawn r of Q / (M*q[r]) * patch(r) outer dY[r,:]`

    With scale = 1 the expectation is the exact gradient. Rows with q[r] = 0 add nothing
    to the exact gradient and are never drawn. A NaN or an infinity in dY makes all of
    dF NaN. share = 1 is the exact gradient itself.

    The draw is systematic: with C the running sum of q and u one uniform number in
    `[0, 1)`, row r is drawn `floor(M*C[r]/Q + u) - floor(M*C[r-1]/Q + u)` times. u is a
    pure function of (seed, layer index, step) from a counter-based generator (Philox),
    so runs are reproducible.

    Source: column-row sampling as in Drineas, Kannan and Mahoney, "Fast Monte Carlo
    Algorithms for Matrices I" (2006).

    Args:
        share: Share of the rows drawn, greater than 0 and at most 1.
        scale: Factor on the gradient: a finite number, or "batch" for 1/N, with N the
            batch size at run time.
        seed: Integer from -2**63 to 2**63 - 1.
        probability: "norm" for `q[r] = ||dY[r,:]||`; or "product" for
            `q[r] = ||dY[r,:]|| * ||patch(r)||`, which has the least variance and reads
            X once more. With "product", a NaN or an infinity in X makes all of dF NaN,
            too.
        keep_largest: Whether the largest rows are kept, once each and with weight 1,
            and only the others sampled: q[r] is clipped at the limit at which no row
            would be drawn more than once. This lowers the variance where a few rows
            carry much of the gradient. At most the rows with q[r] > 0 are drawn.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If share isn't in (0, 1], scale is NaN, infinite or an unknown
            string, seed is out of range, or probability is an unknown string.

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
        object.__setattr__(self, "share", check_share(self.share))
        object.__setattr__(self, "scale", check_scale(self.scale))
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
