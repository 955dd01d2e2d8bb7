"""What a plan's noise costs: the final training loss and accuracy, from exact runs.

Loss and accuracy count as linear in 1 / sqrt(batch size), the standard deviation of the
noise. Of the powers of the batch size, this one foretold best what exact runs of other
batch sizes lost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_approxgrad.methods import (
    GradientMethod,
    MaxGradient,
    RandomGradient,
    ZeroGradient,
)
from tf_approxgrad.planning.exact_runs import (
    BatchRun,
    earlier_value,
    final_value,
    read_history,
    read_runs,
)
from tf_approxgrad.planning.figures import PlanFigures
from tf_approxgrad.utils.checks import check_finite

# How far beyond the runs' batch sizes a curve is continued.
_FARTHEST = 2.0


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What training with a plan loses against exact training with as many steps.

    `print` shows it in a sentence or two; `dataclasses.asdict` makes a dict that JSON
    can hold.

    Attributes:
        tau: Extra variance over the minibatch variance.
        batch_size: Examples of a minibatch, B.
        effective_batch: The batch size of exact training that is as noisy,
            B / (1 + tau).
        steps_factor: How many times as many steps the same loss needs, by the noise
            scale: 1 + tau * noise_batch / (B + noise_batch).
        loss: Final training loss. `None` if there are no runs to tell it from.
        lost_loss: How much higher it is than that of exact training.
        loss_deviation: Standard deviation of `lost_loss`, by how far the runs are from
            the line through them. `None` if there are only two.
        accuracy, lost_accuracy, accuracy_deviation: The same of the accuracy, from 0 to
            1; how much lower it is.
        is_extrapolated: Whether a batch size is outside those of the runs.
        biased: Names of methods that are biased. What holds for variance doesn't hold
            for them.
    """

    tau: float
    batch_size: int
    effective_batch: float
    steps_factor: float
    loss: float | None = None
    lost_loss: float | None = None
    loss_deviation: float | None = None
    accuracy: float | None = None
    lost_accuracy: float | None = None
    accuracy_deviation: float | None = None
    is_extrapolated: bool = False
    biased: tuple[str, ...] = ()

    def __str__(self) -> str:
        batch = f"with batch {self.effective_batch:.3g} instead of {self.batch_size}"
        text = (
            f"With tau {self.tau:.3g}, training is as noisy as "
            f"{batch if self.tau else 'exact training'}"
        )
        parts = []
        if self.loss is not None and self.lost_loss is not None:
            lost = f"{self.lost_loss:+.2g}{_spread(self.loss_deviation)}"
            parts.append(f"final training loss {self.loss:.3g} ({lost})")
        if self.accuracy is not None and self.lost_accuracy is not None:
            deviation = self.accuracy_deviation
            spread = _spread(None if deviation is None else 100 * deviation)
            lost = f"{0 - 100 * self.lost_accuracy:+.2g}{spread} points"
            parts.append(f"accuracy {self.accuracy:.1%} ({lost})")
        text += f": {', '.join(parts)} after as many steps." if parts else "."
        if self.is_extrapolated:
            text += " The runs' batch sizes don't reach that far: it is extrapolated."
        if self.loss_deviation is None:
            text += (
                f" By the noise scale, the same loss needs {self.steps_factor:.2f} "
                "times as many steps."
            )
        if self.biased:
            text += (
                f" But {', '.join(self.biased)} is biased, which adds to the loss what "
                "no variance tells."
            )
        return text


def _spread(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.1g}"


def predict(figures: PlanFigures, runs: Any, history: Any, tau: Any) -> Prediction:
    """What `Plan.predict` returns.

    Args:
        figures: Those of the plan.
        runs, history, tau: As for `Plan.predict`.
    """
    if runs is not None and history is not None:
        raise ValueError(
            "runs and history must not both be given: runs at several batch sizes tell "
            "more."
        )
    if tau is None:
        tau = figures.tau
    tau = check_finite("tau", tau, "a number of at least 0, or None", low=0)
    methods = (layer.method for layer in figures.layers)
    base = without_runs(tau, figures.batch_size, figures.noise_batch, methods)
    if runs is not None:
        return predict_by_runs(base, read_runs(runs))
    if history is not None:
        return predict_by_history(base, *read_history("history", history))
    return base


def without_runs(
    tau: float,
    batch_size: int,
    noise_batch: float,
    methods: Iterable[GradientMethod] = (),
) -> Prediction:
    """What tau and the noise scale tell.

    Args:
        tau: Extra variance over the minibatch variance.
        batch_size: Examples of a minibatch.
        noise_batch: Batch at which the gradient's noise equals its signal; 0 if the
            signal can't be told from the noise, which then is all that counts.
        methods: The methods that are used.
    """
    share = noise_batch / (batch_size + noise_batch) if noise_batch else 1.0
    return Prediction(
        tau=tau,
        batch_size=batch_size,
        effective_batch=batch_size / (1 + tau),
        steps_factor=1 + tau * share,
        biased=_biased_names(methods),
    )


def _biased_names(methods: Iterable[GradientMethod]) -> tuple[str, ...]:
    """Names of the methods that are biased, without repetition."""
    found = {
        method.name: None
        for method in methods
        if isinstance(method, ZeroGradient | RandomGradient | MaxGradient)
        or getattr(method, "scale", 1) != 1
    }
    return tuple(found)


def predict_by_runs(base: Prediction, runs: Sequence[BatchRun]) -> Prediction:
    """Adds the loss and the accuracy by the curve of exact runs.

    The curve is a line over 1 / sqrt(batch size), by least squares.

    Args:
        base: The prediction without.
        runs: Exact runs of at least two batch sizes.

    Raises:
        ValueError: If the batch sizes are too few, or too far away.
    """
    sizes = sorted({run.batch_size for run in runs})
    if len(sizes) < 2:
        raise ValueError(
            f"runs must have at least 2 batch sizes, got {sizes}: add some with half "
            "of the batch"
        )
    if base.effective_batch < sizes[0] / _FARTHEST:
        raise ValueError(
            f"runs has batch sizes {sizes}, but tau={base.tau:.3g} makes training as "
            f"noisy as with batch {base.effective_batch:.3g}: add some of at most "
            f"{_FARTHEST * base.effective_batch:.0f}"
        )
    if base.batch_size > sizes[-1] * _FARTHEST:
        raise ValueError(
            f"runs has batch sizes {sizes}, but the plan's is {base.batch_size}: add "
            f"some of at least {base.batch_size / _FARTHEST:.0f}"
        )
    places = np.array([base.batch_size, base.effective_batch]) ** -0.5
    exact, loss, deviation = _on_line(
        places, [(run.batch_size, run.loss) for run in runs]
    )
    found = dataclasses.replace(
        base,
        loss=loss,
        lost_loss=loss - exact,
        loss_deviation=deviation,
        is_extrapolated=not (
            sizes[0] <= base.effective_batch and base.batch_size <= sizes[-1]
        ),
    )
    known = [(r.batch_size, -r.accuracy) for r in runs if r.accuracy is not None]
    if {size for size, _ in known} != set(sizes):
        return found
    exact, accuracy, deviation = _on_line(places, known)
    return dataclasses.replace(
        found,
        accuracy=min(max(-accuracy, 0.0), 1.0),
        lost_accuracy=accuracy - exact,
        accuracy_deviation=deviation,
    )


def predict_by_history(
    base: Prediction, losses: np.ndarray, accuracies: np.ndarray | None
) -> Prediction:
    """Adds the loss and the accuracy that an exact run had `steps_factor` earlier.

    Args:
        base: The prediction without.
        losses, accuracies: Those of the run, by epoch or step.

    Raises:
        ValueError: If the run has too few values.
    """
    loss = earlier_value(losses, base.steps_factor)
    found = dataclasses.replace(base, loss=loss, lost_loss=loss - final_value(losses))
    if accuracies is None:
        return found
    accuracy = earlier_value(accuracies, base.steps_factor)
    lost = final_value(accuracies) - accuracy
    return dataclasses.replace(found, accuracy=accuracy, lost_accuracy=lost)


def _on_line(
    places: np.ndarray, points: Sequence[tuple[int, float]]
) -> tuple[float, float, float | None]:
    """Values on the line of least squares, and the deviation of their difference.

    Args:
        places: Two batch sizes to the power -1/2, the larger size first.
        points: Pairs of a batch size and what grows with the noise.
    """
    sizes, values = np.array(points, np.float64).T
    noises = sizes**-0.5 - np.mean(sizes**-0.5)
    spread = np.sum(noises**2)
    # Less noise never costs more.
    slope = max(np.sum(noises * values) / spread, 0.0)
    first, last = values.mean() + slope * (places - np.mean(sizes**-0.5))
    freedom = len(points) - 2
    if freedom == 0:
        return float(first), float(last), None
    variance = np.sum((values - values.mean() - slope * noises) ** 2) / freedom
    deviation = math.sqrt(variance / spread) * (places[1] - places[0])
    return float(first), float(last), float(deviation)
