"""What is measured and predicted of training runs, and how well the two agree.

No TensorFlow here: the tables of the documentation are made with this, too.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

BATCH = 128
# The bar of a loss that is predicted well.
CLOSE = 0.05


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run, and what was predicted of it from exact ones.

    Accuracies are of the test images, from 0 to 1. NaN stands for what isn't known.

    Attributes:
        network: One of `benchmarks.training.settings.NETWORKS`.
        width: Factor on its channels and units.
        images: Training images.
        steps: Training steps.
        batch: Images of a minibatch.
        setting: How it was trained, see benchmarks/training/settings.py.
        seed: Of weights, order of the images, and methods that draw.
        is_biased: Whether the setting's method is.
        tau: Its extra variance, the mean over the layers and over training; 0 if exact.
        tau_of_sums: The same, of sums over all weights.
        noise_batch: Batch at which the gradient's noise equals its signal, the mean
            over training.
        losses: The training loss in equal parts of the run.
        loss: The final training loss: that of the last tenth of the run.
        accuracy: The accuracy after the last step.
        predicted_loss: The final training loss of the exact run of the same seed, and
            `predicted_lost_loss`.
        lost_loss: How much more than in that run the loss is.
        predicted_lost_loss: The same, by the line through exact runs of all seeds.
        lost_accuracy: How much less than in that run the accuracy is.
        predicted_lost_accuracy: The same, by the line.
        lost_loss_by_noise: As `lost_loss`, by `noise_batch` and the exact runs' earlier
            loss.
        is_extrapolated: Whether the line had to be continued.
    """

    network: str
    width: float
    images: int
    steps: int
    batch: int
    setting: str
    seed: int
    is_biased: bool
    tau: float
    tau_of_sums: float
    noise_batch: float
    losses: str
    loss: float
    accuracy: float
    predicted_loss: float = math.nan
    lost_loss: float = math.nan
    predicted_lost_loss: float = math.nan
    lost_accuracy: float = math.nan
    predicted_lost_accuracy: float = math.nan
    lost_loss_by_noise: float = math.nan
    is_extrapolated: bool = False

    @property
    def is_exact(self) -> bool:
        return self.setting == "full"

    @property
    def is_predicted(self) -> bool:
        """Whether the line reaches as far as this run's tau."""
        return not math.isnan(self.predicted_loss)

    @property
    def error(self) -> float:
        """The predicted loss over the measured one, less 1."""
        return self.predicted_loss / self.loss - 1


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well predictions agree with runs.

    Attributes:
        runs: Runs in all.
        predicted: Those that the exact runs' line reaches.
        close: Those whose loss is predicted within `CLOSE`.
        loss: Spearman's rank correlation of predicted and measured `lost_loss`.
        accuracy: That of `lost_accuracy`.
        loss_by_noise: That of `lost_loss` and what the noise scale says of it.
    """

    runs: int
    predicted: int
    close: int
    loss: float
    accuracy: float
    loss_by_noise: float


def agreement(runs: Sequence[Run]) -> Agreement:
    """How well predictions agree with approximate runs."""
    known = [run for run in runs if run.is_predicted]

    def correlation(predicted: str, measured: str) -> float:
        pairs = [(getattr(x, predicted), getattr(x, measured)) for x in known]
        pairs = [pair for pair in pairs if not any(map(math.isnan, pair))]
        return spearman(*zip(*pairs, strict=True)) if len(pairs) > 1 else math.nan

    return Agreement(
        runs=len(runs),
        predicted=len(known),
        close=sum(abs(run.error) <= CLOSE for run in known),
        loss=correlation("predicted_lost_loss", "lost_loss"),
        accuracy=correlation("predicted_lost_accuracy", "lost_accuracy"),
        loss_by_noise=correlation("lost_loss_by_noise", "lost_loss"),
    )


def of_settings(runs: Sequence[Run]) -> list[Run]:
    """The mean over seeds of each setting's runs, in order of network and tau."""

    def key(run: Run) -> tuple[str, bool, float, str]:
        return run.network, run.is_biased, run.tau, run.setting

    means = []
    for _, group in itertools.groupby(sorted(runs, key=key), key):
        seeds = list(group)
        values = {
            field.name: float(np.mean([getattr(run, field.name) for run in seeds]))
            for field in dataclasses.fields(Run)
            if isinstance(getattr(seeds[0], field.name), float)
        }
        means.append(dataclasses.replace(seeds[0], **values))
    return means


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values with the mean of their ranks.

    Returns:
        From -1 to 1; NaN if all values of one are equal.
    """
    ranks = [_ranks(np.asarray(values)) for values in (x, y)]
    if any(np.ptp(values) == 0 for values in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[places]
