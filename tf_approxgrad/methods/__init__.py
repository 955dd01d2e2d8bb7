"""The gradient methods: how the filter gradient of one layer is computed at one step.

A method is a description only: a small immutable value that can be compared, hashed,
printed and serialised. `tf_approxgrad.gradients` holds the computations.

Notation, as in the paper and in TensorFlow: filter gradient dF `[KH, KW, Ci, Co]`,
input X `[N, H, W, Ci]`, output gradient dY `[N, Ho, Wo, Co]`, position p (one spatial
index of dY).
"""

from tf_approxgrad.methods.base import INT64_MAX, GradientMethod
from tf_approxgrad.methods.exact import (
    EXACT_METHODS,
    ExactGradient,
    FullGradient,
    WinogradGradient,
)
from tf_approxgrad.methods.paper import MaxGradient, RandomGradient, ZeroGradient
from tf_approxgrad.methods.registry import (
    MethodLike,
    are_full,
    by_share,
    defaults,
    get,
    get_all,
    parse,
    register_method,
)
from tf_approxgrad.methods.row_sampled import RowSampledGradient
from tf_approxgrad.methods.sampled import SampledGradient
from tf_approxgrad.methods.tile_sampled import TileSampledGradient

__all__ = [
    "EXACT_METHODS",
    "INT64_MAX",
    "ExactGradient",
    "FullGradient",
    "GradientMethod",
    "MaxGradient",
    "MethodLike",
    "RandomGradient",
    "RowSampledGradient",
    "SampledGradient",
    "TileSampledGradient",
    "WinogradGradient",
    "ZeroGradient",
    "are_full",
    "by_share",
    "defaults",
    "get",
    "get_all",
    "parse",
    "register_method",
]
