"""Times of layers' gradients by each candidate."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from tf_approxgrad.gradients.fast_exact import kernel_of
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient
from tf_approxgrad.gradients.kernel_choice import DENSE, WINOGRAD
from tf_approxgrad.gradients.observer import RecordedCall, summed_gradient
from tf_approxgrad.measure.per_layer import joined_gradient, milliseconds
from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    TileSampledGradient,
    by_share,
)

_REPEATS = 5
# More than most caches hold.
_CACHED_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class LayerTimes:
    """Median times of a layer's gradients in a step, in milliseconds.

    Attributes:
        filter: Time of the filter gradient by each method that was timed.
        input: Time of the input gradient by `FullGradient` and `ExactGradient`; empty
            if it isn't computed.
    """

    filter: Mapping[GradientMethod, float]
    input: Mapping[GradientMethod, float]

    def scaled(self, factor: float) -> LayerTimes:
        """The times on a machine that is slower by a factor."""
        return LayerTimes(
            {method: factor * ms for method, ms in self.filter.items()},
            {method: factor * ms for method, ms in self.input.items()},
        )

    def saving(self, part: float) -> LayerTimes:
        """The times if only a part of what is saved over `FullGradient` were."""

        def moved(times: Mapping[GradientMethod, float]) -> dict[GradientMethod, float]:
            full = times.get(FullGradient(), 0.0)
            return {method: full - part * (full - ms) for method, ms in times.items()}

        return LayerTimes(moved(self.filter), moved(self.input))

    def of(self, method: GradientMethod) -> float:
        """Time of both gradients in a plan where the layer has a method."""
        is_full = isinstance(method, FullGradient)
        of_input = FullGradient() if is_full else ExactGradient()
        return self.filter[method] + self.input.get(of_input, 0.0)


def time_layer(
    filter_calls: Sequence[RecordedCall],
    input_calls: Sequence[RecordedCall],
    exact: Sequence[GradientMethod],
    candidates: Sequence[GradientMethod],
    jit_compile: bool,
) -> LayerTimes:
    """Times the gradients of a layer by the exact methods and the candidates.

    Of candidates that differ by the share alone, the others are left out if that of the
    least share isn't faster than the exact methods. Tiles are left out where there is
    no kernel for them.

    Args:
        filter_calls, input_calls: Recorded gradients of a layer, with tensors that have
            values.
        exact: Exact methods, of which both gradients are timed.
        candidates: Methods of which the filter gradient is timed.
        jit_compile: Whether XLA compiles the gradients.
    """
    kernel = _exact_kernel(filter_calls, jit_compile)
    if kernel != WINOGRAD:
        candidates = [x for x in candidates if not isinstance(x, TileSampledGradient)]
    families = by_share(x for x in candidates if not x.is_exact)
    measure = functools.partial(_measure, summed_gradient, filter_calls, jit_compile)
    times = measure([*_distinct(exact, kernel), *(family[0] for family in families)])
    for method in exact:
        times.setdefault(method, times[exact[0]])
    least = min(times[method] for method in exact)
    for family in families:
        if times[family[0]] < least and family[1:]:
            times |= measure(family[1:])
    of_input = {}
    if input_calls:
        kernel = _exact_kernel(input_calls, jit_compile, of_input=True)
        of_input = _measure(
            joined_gradient, input_calls, jit_compile, _distinct(exact, kernel)
        )
        for method in exact:
            of_input.setdefault(method, of_input[exact[0]])
    return LayerTimes(times, of_input)


def _exact_kernel(
    calls: Sequence[RecordedCall], jit_compile: bool, of_input: bool = False
) -> str:
    """The kernel of `ExactGradient`."""
    own = input_gradient if of_input else filter_gradient
    if jit_compile or any(call.compute is not own for call in calls):
        return DENSE
    return kernel_of(ExactGradient(), calls[0].inputs, of_input)


def _distinct(exact: Sequence[GradientMethod], kernel: str) -> Sequence[GradientMethod]:
    """The exact methods, one of them where all run the same op."""
    return exact[:1] if kernel == DENSE else exact


def _measure(
    compute: Callable[..., tf.Tensor],
    calls: Sequence[RecordedCall],
    jit_compile: bool,
    methods: Sequence[GradientMethod],
) -> dict[GradientMethod, float]:
    gradient = functools.partial(compute, calls)
    # In a step, other tensors pass through the caches between two of its gradients.
    others = tf.zeros([_CACHED_BYTES // 4])
    return milliseconds(
        gradient,
        methods,
        0,
        _REPEATS,
        jit_compile,
        between=lambda: tf.reduce_sum(others).numpy(),
    )
