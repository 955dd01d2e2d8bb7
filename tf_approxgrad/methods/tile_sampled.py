"""The filter gradient from tiles that are drawn at random."""

import dataclasses

import keras

from tf_approxgrad.methods.base import (
    INT64_MAX,
    INT64_MIN,
    GradientMethod,
    check_share,
)
from tf_approxgrad.utils.checks import check_integer


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class TileSampledGradient(GradientMethod):
    """The filter gradient from a random share of the tiles, unbiased.

    A tile t is 4x4 positions of one example, fewer at the ends of rows and columns. Of
    the T tiles, M = max(1, floor(share*T)) are drawn, shared by all channels, with
    probabilities proportional to q[t] and at most 1, so that the largest are kept:

    `dF = sum over drawn t of part(t) / probability(t)`

    with part(t) what dY in the tile adds to the exact gradient, and q[t] the norm of
    that dY times the norm of the patches under it. The expectation is the exact
    gradient. A NaN or an infinity in dY or X makes all of dF NaN. share = 1 is the
    exact gradient itself.

    Where `WinogradGradient` applies, its kernel computes the drawn tiles alone, in
    about the share of the time. Elsewhere the other tiles of dY are set to zero, which
    saves no time: `RowSampledGradient` does there.

    The draw is systematic, as that of `RowSampledGradient`: a pure function of (seed,
    layer index, step), so that runs are reproducible.

    Args:
        share: Share of the tiles drawn, greater than 0 and at most 1.
        seed: Integer from -2**63 to 2**63 - 1.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If share isn't in (0, 1] or seed is out of range.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.TileSampledGradient().label
    'tile-sampled'
    >>> tfag.TileSampledGradient(share=0.25).label
    'tile-sampled(share=0.25)'
    """

    share: float = 0.5
    seed: int = 0

    name = "tile-sampled"
    supports_jit = True
    needs_step = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", check_share(self.share))
        seed = check_integer("seed", self.seed, INT64_MIN, INT64_MAX)
        object.__setattr__(self, "seed", seed)
