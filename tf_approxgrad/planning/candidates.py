"""The methods that a plan chooses from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    MethodLike,
    RowSampledGradient,
    TileSampledGradient,
    get_all,
)
from tf_approxgrad.planning.choice import Candidate
from tf_approxgrad.planning.timings import LayerTimes


def default_candidates(
    probabilities: Sequence[str], shares: Sequence[float]
) -> list[GradientMethod]:
    """Unbiased methods, by the probabilities of `RowSampledGradient`, and shares."""
    rows = [
        RowSampledGradient(share, probability=probability, keep_largest=True)
        for probability in probabilities
        for share in shares
    ]
    return [*(TileSampledGradient(share) for share in shares), *rows]


def parse_candidates(
    methods: MethodLike | Iterable[MethodLike] | None,
    probabilities: Sequence[str] = ("product", "norm"),
    shares: Sequence[float] = (0.75, 0.625, 0.5, 0.375, 0.25, 0.125),
) -> list[GradientMethod]:
    """The argument `methods` of a plan, without exact methods.

    `None` means `default_candidates` of the other arguments.
    """
    if methods is None:
        return default_candidates(probabilities, shares)
    return [method for method in get_all("methods", methods) if not method.is_exact]


def fastest_exact(times: LayerTimes) -> GradientMethod:
    """The exact method of least time."""
    exact = [x for x in (FullGradient(), ExactGradient()) if x in times.filter]
    return min(exact, key=times.of)


def faster_methods(times: LayerTimes, saved_ms: float = 0.0) -> list[GradientMethod]:
    """The methods that save more than a time over the exact ones."""
    most = times.of(fastest_exact(times)) - saved_ms
    return [x for x in times.filter if not x.is_exact and times.of(x) < most]


def layer_candidates(
    times: LayerTimes,
    methods: Iterable[GradientMethod],
    tau: Callable[[GradientMethod], float],
) -> list[Candidate]:
    """A layer's fastest exact method, and others.

    Args:
        times: Times of the layer's gradients.
        methods: The others.
        tau: The layer's part of a plan's tau, by method.
    """
    exact = fastest_exact(times)
    return [
        Candidate(exact, times.of(exact), 0.0),
        *(Candidate(method, times.of(method), tau(method)) for method in methods),
    ]
