"""Pictures of a training run: the paper's Figure 4 and Figure 5."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from results import EpochRow

import tf_approxgrad as tfag


def draw_curves(histories: dict[str, list[EpochRow]], path: Path) -> None:
    """Draws loss and validation accuracy over the epochs, a line for each method."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for method, rows in histories.items():
        epochs = [row.epoch for row in rows]
        style = {"marker": "o", "markersize": 3, "label": method}
        left.plot(epochs, [row.loss for row in rows], **style)
        right.plot(epochs, [100 * row.val_accuracy for row in rows], **style)
    left.set_ylabel("training loss")
    right.set_ylabel("validation accuracy (%)")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_schedule(schedule: tfag.Schedule, layers: Sequence[Any], path: Path) -> None:
    """Draws which layer is approximated at which step."""
    figure, axes = plt.subplots(figsize=(7, 1.5 + 0.2 * len(layers)))
    schedule.plot(layers, ax=axes)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
