"""The choice of a method for each layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tf_approxgrad.methods import GradientMethod

# The least net gain for which approximate gradients replace exact ones, and exact ones
# by other kernels those of plain Keras.
LEAST_GAIN = 1.03
# Steps of the grid of tau, and its end if no bound is larger. Rounding up makes each
# layer's tau too large by at most one step.
_STEPS, _END = 10_000, 0.5


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A method for a layer.

    Attributes:
        method: The method.
        ms: Time of the layer's gradients in a step, in milliseconds.
        tau: The extra variance, as the layer's part of the plan's tau.
    """

    method: GradientMethod
    ms: float
    tau: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """A candidate for each layer.

    Attributes:
        step_ms: Time of the whole step.
        tau: Extra variance over the minibatch variance.
        candidates: The layers' candidates.
    """

    step_ms: float
    tau: float
    candidates: tuple[Candidate, ...]

    @property
    def cost(self) -> float:
        """Time to the same loss: that of a step, times 1 + tau."""
        return self.step_ms * (1 + self.tau)


def exact_choice(other_ms: float, layers: Sequence[Sequence[Candidate]]) -> Choice:
    """The choice of each layer's first candidate, the exact one."""
    chosen = tuple(candidates[0] for candidates in layers)
    return Choice(_step_ms(other_ms, chosen), 0.0, chosen)


def efficient_choices(
    other_ms: float, layers: Sequence[Sequence[Candidate]], bound: float = _END
) -> list[Choice]:
    """The fastest choice for each bound of tau, in the order of their tau.

    A multiple-choice knapsack, solved over a grid of bounds by dynamic programming.

    Args:
        other_ms: Time of a step without the layers' gradients.
        layers: The candidates of each layer, one of them with tau = 0.
        bound: Largest bound of tau; 0.5 if it is less.

    Returns:
        Choices of rising tau and falling time, the first with the least tau.
    """
    end = max(_END, bound)
    unit = end / _STEPS
    fastest = np.zeros(_STEPS + 1)
    picks = []
    for candidates in layers:
        total = np.full(_STEPS + 1, np.inf)
        pick = np.zeros(_STEPS + 1, np.int16)
        for number, candidate in enumerate(candidates):
            if not candidate.tau <= end:
                continue
            cells = int(np.ceil(candidate.tau / unit))
            reached = np.full(_STEPS + 1, np.inf)
            reached[cells:] = fastest[: _STEPS + 1 - cells] + candidate.ms
            is_better = reached < total
            total[is_better], pick[is_better] = reached[is_better], number
        picks.append(pick)
        fastest = total
    choices: list[Choice] = []
    places = np.flatnonzero(np.diff(fastest, prepend=np.inf) < 0)
    for place in places:
        chosen = []
        for candidates, pick in zip(reversed(layers), reversed(picks), strict=True):
            candidate = candidates[pick[place]]
            place -= int(np.ceil(candidate.tau / unit))
            chosen.append(candidate)
        chosen.reverse()
        tau = sum(candidate.tau for candidate in chosen)
        choice = Choice(_step_ms(other_ms, chosen), tau, tuple(chosen))
        # By rounding on the grid, a faster choice may have less.
        while choices and choices[-1].tau >= choice.tau:
            choices.pop()
        choices.append(choice)
    return choices


def best_choice(exact: Choice, choices: Sequence[Choice], bound: float) -> Choice:
    """The choice of least cost with tau up to a bound, if it gains 3% over `exact`."""
    allowed = [choice for choice in choices if choice.tau <= bound]
    best = min(allowed, key=lambda choice: choice.cost, default=exact)
    return best if exact.cost >= LEAST_GAIN * best.cost else exact


def _step_ms(other_ms: float, candidates: Sequence[Candidate]) -> float:
    """Time of a step. Times of a small step's parts may exceed the whole."""
    of_layers = sum(candidate.ms for candidate in candidates)
    return max(other_ms + of_layers, 0.05 * of_layers)
