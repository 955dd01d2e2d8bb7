"""Why a plan is as it is, in words, and what a user could do instead."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from tf_approxgrad.conversion.exact_kernels import label_with_kernel
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.planning.alternatives import BFLOAT16, HALF
from tf_approxgrad.planning.choice import Candidate, Choice
from tf_approxgrad.planning.figures import Alternative, LayerPlan, filters_shape
from tf_approxgrad.planning.timings import LayerTimes

# Names of the steps that a plan is chosen from.
FULL, EXACT, PLAN = "full", "exact", "plan"


def explain_layer(
    layer: keras.layers.Layer,
    method: GradientMethod,
    times: LayerTimes | None,
    fastest: Candidate | None,
    used: Candidate | None,
) -> LayerPlan:
    """A layer's part of a plan.

    Args:
        layer: The layer.
        method: Its method.
        times: Times of its gradients; `None` if they weren't measured.
        fastest: Its fastest exact method; `None` likewise.
        used: The candidate that the plan has; `None` if the whole plan is full.
    """
    full_ms = exact_ms = ms = tau = 0.0
    if times is None or fastest is None:
        is_frozen = not layer.trainable_weights
        reason = "frozen" if is_frozen else "its filters aren't trained in every step"
    else:
        full_ms, exact_ms = times.of(FullGradient()), fastest.ms
        ms = full_ms if used is None else used.ms
        tau = 0.0 if used is None else used.tau
        approximate = [times.of(m) for m in times.filter if not m.is_exact]
        if not method.is_exact:
            reason = f"saves {exact_ms - ms:.2f} ms more than exact kernels"
        elif used is None:
            reason = "the whole gains too little"
        elif not approximate or min(approximate) >= exact_ms:
            reason = "nothing is faster"
        else:
            reason = "approximation costs more variance than it saves time"
    return LayerPlan(
        name=layer.name,
        filters=filters_shape(layer),
        method=method,
        kernel=_short_label(layer, method),
        full_ms=full_ms,
        exact_ms=exact_ms,
        ms=ms,
        tau=tau,
        reason=reason,
    )


def list_alternatives(
    gains: Mapping[str, float],
    reasons: Mapping[str, str],
    batch_size: int,
    taken: str,
    predicted: float,
) -> tuple[Alternative, ...]:
    """What a user could do instead.

    Args:
        gains: How many times as fast as full each step is.
        reasons: Why some have no time.
        batch_size: Examples of a minibatch.
        taken: Name of the step that the plan has.
        predicted: Speed-up of exact gradients, where it wasn't measured.
    """
    found = []
    if taken != EXACT:
        note = "" if EXACT in gains or predicted == 1 else "predicted"
        gain = gains.get(EXACT, predicted)
        name = "exact gradients by the fastest kernels"
        found.append(Alternative(name, gain, 0.0, note))
    for name, tau in ((HALF, 1.0), (BFLOAT16, 0.0)):
        label = f"{name} ({batch_size // 2})" if name == HALF else name
        gain, note = gains.get(name, 0.0), reasons.get(name, "")
        if name == BFLOAT16 and gain:
            note = "with rounding to 8 bits"
        found.append(Alternative(label, gain, tau, note))
    return tuple(found)


def explain_verdict(
    taken: str,
    gains: Mapping[str, float],
    net: float,
    full_ms: float,
    of_layers: float,
    best: Choice,
) -> str:
    """The result in a sentence or two.

    Args:
        taken: Name of the step that the plan has.
        gains: How many times as fast as full each step is.
        net: Net gain of the step that the plan has.
        full_ms: Time of a plain step.
        of_layers: Time of the measured layers' gradients in it.
        best: The choice of least cost.
    """
    exact = gains.get(EXACT, 1.0)
    if taken == PLAN:
        approximate = [c for c in best.candidates if not c.method.is_exact]
        text = (
            f"Approximate the filter gradients of {len(approximate)} of "
            f"{len(best.candidates)} layers: a net gain of {net:.2f}x, where exact "
            f"gradients by the fastest kernels gain {exact:.2f}x."
        )
    elif taken == EXACT:
        text = (
            f"Exact gradients by the fastest kernels gain {exact:.2f}x; no "
            "approximation gains 3% beyond them."
        )
    elif EXACT in gains or PLAN in gains:
        text = (
            "Train as before: layer by layer other gradients looked faster, but whole "
            "steps didn't gain 3%."
        )
    else:
        share, gain = of_layers / full_ms, full_ms / best.cost - 1
        text = (
            f"Train as before: the convolutions' gradients are {share:.0%} of a step, "
            f"and the best choice among the methods would gain {gain:.1%}."
        )
    others = {HALF: gains.get(HALF, 0.0) / 2, BFLOAT16: gains.get(BFLOAT16, 0.0)}
    other = max(others, key=lambda name: others[name])
    if others[other] > net:
        text += f" But {other} has a net gain of {others[other]:.2f}x."
    return text


def _short_label(layer: keras.layers.Layer, method: GradientMethod) -> str:
    share = getattr(method, "share", None)
    if share is None:
        return label_with_kernel(layer, method)
    probability = getattr(method, "probability", "")
    return f"{method.name} {share:g}" + (f", {probability}" if probability else "")
