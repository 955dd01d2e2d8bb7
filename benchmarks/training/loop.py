"""Trains one model for each setting, all on the same batches, their steps in turns."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from benchmarks.paired_times import PairedTimes
from benchmarks.training import recipe as recipes
from benchmarks.training.batches import BatchMaker
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.datasets import Dataset
from benchmarks.training.recipe import Recipe
from benchmarks.training.settings import Setting, parse

# Of every start of the program: the first steps trace, allocate and choose algorithms.
_WARM_UP_STEPS = 4


@dataclasses.dataclass(frozen=True)
class EpochRow:
    """One epoch of one setting. Accuracies are from 0 to 1, epochs from 1."""

    setting: str
    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclasses.dataclass
class Run:
    """One setting's compiled model, and the rows of its finished epochs."""

    name: str
    setting: Setting
    model: keras.Model
    rows: list[EpochRow] = dataclasses.field(default_factory=list)


class Training:
    """The runs of some settings, which start from the same weights.

    Args:
        names: The settings.
        recipe: What they have in common.
        dataset: What to train and validate on.
        seed: Fixes the initial weights, the order, the augmentation and the methods
          that draw.
        checkpoint: Is saved after each epoch.

    Raises:
        ValueError: If there is no such setting, or one that doesn't fit the network.
    """

    def __init__(
        self,
        names: Sequence[str],
        recipe: Recipe,
        dataset: Dataset,
        seed: int,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._batches = BatchMaker(dataset, recipe.batch, seed, recipe.augment)
        self._epochs = recipe.epochs
        self._checkpoint = checkpoint or Checkpoint(None, {})
        self.runs = []
        for name in names:
            setting = parse(name, recipe.model, seed)
            model = recipes.make_model(
                recipe,
                setting,
                seed,
                dataset.image_shape,
                self._batches.steps_per_epoch,
            )
            self.runs.append(Run(name, setting, model))
        schedules = [run.setting.schedule for run in self.runs]
        self.period = math.lcm(*(schedule.period for schedule in schedules if schedule))
        # Whole periods, so that no window straddles two of the orders of PairedTimes.
        self._warm_up = -(-_WARM_UP_STEPS // self.period) * self.period
        self.times = PairedTimes(names, self.period, self._warm_up)
        self._restore()

    @property
    def finished(self) -> int:
        """Epochs that are finished."""
        return len(self.runs[0].rows)

    def train(self) -> None:
        """Trains for the epochs that are left."""
        iterator = iter(self._batches.training(self.finished))
        for epoch in range(self.finished, self._epochs):
            print(f"Epoch {epoch + 1}/{self._epochs}", flush=True)
            logs = self._train_in_turns(iterator, self._batches.steps_per_epoch)
            for run in self.runs:
                scores = run.model.evaluate(
                    self._batches.validation(), verbose=0, return_dict=True
                )
                row = EpochRow(
                    setting=run.name,
                    epoch=epoch + 1,
                    learning_rate=float(run.model.optimizer.learning_rate),
                    val_loss=float(scores["loss"]),
                    val_accuracy=float(scores["accuracy"]),
                    **logs[run.name],
                )
                run.rows.append(row)
                print(f"  {run.name}: validation accuracy {row.val_accuracy:.2%}")
            self._save()

    def time(self, steps: int) -> int:
        """Times `steps` steps or a little more, of whole periods of the schedules.

        Returns:
            How many were timed.
        """
        steps = -(-steps // self.period) * self.period
        self._train_in_turns(iter(self._batches.training(0)), self._warm_up + steps)
        return steps

    def _train_in_turns(
        self, iterator: Iterator[Any], steps: int
    ) -> dict[str, dict[str, float]]:
        """Trains on `steps` batches; returns each setting's mean loss and accuracy."""
        # Batches are of one size, so that the mean over batches is that over images.
        sums: dict[str, collections.Counter[str]] = {
            run.name: collections.Counter() for run in self.runs
        }
        progress = keras.utils.Progbar(
            steps,
            verbose=1 if sys.stdout.isatty() else 2,
            stateful_metrics=[f"{run.name} loss" for run in self.runs],
        )
        for step in range(steps):
            batch = next(iterator)
            logs = self.times.run(
                {
                    run.name: functools.partial(_train_on_batch, run.model, *batch)
                    for run in self.runs
                }
            )
            means = []
            for name, values in logs.items():
                sums[name].update(values)
                means.append((f"{name} loss", sums[name]["loss"] / (step + 1)))
            progress.update(step + 1, means, finalize=step + 1 == steps)
        return {
            name: {key: total / steps for key, total in totals.items()}
            for name, totals in sums.items()
        }

    def _restore(self) -> None:
        state = self._checkpoint.restore({run.name: run.model for run in self.runs})
        if state is not None:
            for run in self.runs:
                run.rows = [EpochRow(**row) for row in state["rows"][run.name]]
            self.times.restore(state["times"])

    def _save(self) -> None:
        rows = {x.name: [dataclasses.asdict(row) for row in x.rows] for x in self.runs}
        self._checkpoint.save(
            {run.name: run.model for run in self.runs},
            self.finished,
            {"rows": rows, "times": self.times.state()},
        )


def _train_on_batch(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    # Of this batch alone: some versions of Keras go on with the last one's.
    model.reset_metrics()
    # It returns numbers, so it has waited for the step to end.
    logs = model.train_on_batch(images, labels, return_dict=True)
    return {name: float(logs[name]) for name in ("loss", "accuracy")}
