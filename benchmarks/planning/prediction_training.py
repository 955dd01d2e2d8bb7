"""The training runs that predictions are held against: made once, row by row."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from benchmarks.machine import Machine
from benchmarks.planning.prediction_runs import BATCH, Run
from benchmarks.planning.taus import Tau, measure_taus
from benchmarks.rows import merge, read_csv, write_csv
from benchmarks.training.batches import BatchMaker
from benchmarks.training.datasets import Dataset
from benchmarks.training.recipe import Recipe, make_model
from benchmarks.training.settings import parse
from tf_approxgrad.planning.minibatches import Minibatch
from tf_approxgrad.planning.plan_maker import MINIBATCHES

BATCHES = (128, 96, 64, 48, 32, 16)
_ROWS = "row-sampled:share={}:probability={}:keep_largest=True@constant"
UNBIASED = (
    *(
        _ROWS.format(share, probability)
        for probability in ("product", "norm")
        for share in (0.125, 0.25, 0.5, 0.75)
    ),
    "row-sampled:share=0.0625@constant",
    "sampled:k=0.25@constant",
    "sampled:k=0.1@constant",
)
# By the scale 1 the sizes of max are those of the exact gradient.
BIASED = (
    "max:k=1:scale=1.0@constant",
    "max:k=4:scale=1.0@constant",
    "zero@schedule1",
    "random@schedule1",
)
# Equal parts of a run, of which the loss is kept; the last tenth is the final loss.
PARTS = 30
# The parts after which tau is measured: the middles of the thirds.
MOMENTS = (5, 15, 25)


@dataclasses.dataclass(frozen=True)
class RunRow(Run, Machine):
    """A run with all that it depends on."""


@dataclasses.dataclass(frozen=True)
class TauRow:
    """tau of a setting at a moment of the exact run.

    Attributes:
        step: The training step.
    """

    network: str
    width: float
    images: int
    steps: int
    setting: str
    step: int
    tau: float
    tau_of_sums: float
    noise_batch: float


class Trainer:
    """Makes the runs of a network that the results don't have.

    Args:
        recipe: What the runs have in common, besides the number of steps.
        steps: Training steps of each run, a multiple of `PARTS`.
        dataset: The images.
        path: The CSV file of the runs. That of tau stands beside it.
        machine: What the rows name.
    """

    def __init__(
        self, recipe: Recipe, steps: int, dataset: Dataset, path: Path, machine: Machine
    ) -> None:
        self._recipe, self._steps, self._dataset = recipe, steps, dataset
        self._path, self._machine = path, machine
        self._taus_path = path.with_name(f"{path.stem}_tau.csv")
        self._key = (recipe.model, recipe.width, len(dataset.train_images), steps)

    def work(
        self, settings: Sequence[str], exact_seeds: int, seeds: int, deadline: float
    ) -> None:
        """Makes runs, the exact ones first, then seed by seed, while there is time.

        Args:
            settings: Those of the approximate runs.
            exact_seeds: Runs of each batch size.
            seeds: Runs of each setting.
            deadline: As `time.monotonic` counts. No run is begun after it.
        """
        runs = [
            ("full", batch, seed) for seed in range(exact_seeds) for batch in BATCHES
        ]
        runs += [(name, BATCH, seed) for seed in range(seeds) for name in settings]
        for number, (name, batch, seed) in enumerate(runs, 1):
            if self._has(name, batch, seed):
                continue
            if time.monotonic() > deadline:
                return
            begin = time.monotonic()
            row = self._make_run(name, batch, seed, settings)
            write_csv(self._path, [*read_rows(self._path), row], RunRow)
            print(
                f"[{number}/{len(runs)}] {name}, batch {batch}, seed {seed}: loss "
                f"{row.loss:.4f}, accuracy {row.accuracy:.2%}, tau {row.tau:.3f}, "
                f"{time.monotonic() - begin:.0f} s",
                flush=True,
            )
            keras.utils.clear_session()

    def _has(self, name: str, batch: int, seed: int) -> bool:
        run = (*self._key, name, batch, seed)
        return any(
            (*network_of(row), row.setting, row.batch, row.seed) == run
            for row in read_rows(self._path)
        )

    def _make_run(
        self, name: str, batch: int, seed: int, settings: Sequence[str]
    ) -> RunRow:
        measures = name == "full" and (batch, seed) == (BATCH, 0)
        losses, accuracy = self._train(name, batch, seed, settings if measures else ())
        found = {
            field: self._mean_tau(name, field)
            for field in ("tau", "tau_of_sums", "noise_batch")
        }
        network, width, images, steps = self._key
        run = Run(
            network=network,
            width=width,
            images=images,
            steps=steps,
            batch=batch,
            setting=name,
            seed=seed,
            is_biased=name in BIASED,
            losses=" ".join(f"{loss:.4f}" for loss in losses),
            loss=float(np.mean(losses[-PARTS // 10 :])),
            accuracy=accuracy,
            **found,
        )
        return merge(RunRow, self._machine, run)

    def _mean_tau(self, name: str, field: str) -> float:
        """The mean over the moments; 0 of exact gradients."""
        if name == "full":
            return 0.0
        rows = [
            row
            for row in read_csv(self._taus_path, TauRow)
            if (*network_of(row), row.setting) == (*self._key, name)
        ]
        if len(rows) != len(MOMENTS):
            raise ValueError(
                f"{self._taus_path} has no tau of {name!r}: it is measured in the "
                f"exact run of batch {BATCH} and seed 0. Remove that run's row to "
                "repeat it."
            )
        return float(np.mean([getattr(row, field) for row in rows]))

    def _train(
        self, name: str, batch: int, seed: int, measured: Sequence[str]
    ) -> tuple[list[float], float]:
        """Trains; returns the losses of the parts, and the accuracy at the end."""
        recipe = self._recipe
        setting = parse(name, recipe.model, seed)
        shape = self._dataset.image_shape
        # The learning rate decays over the whole run, whatever an epoch is.
        model = make_model(recipe, setting, seed, shape, self._steps)
        batches = BatchMaker(self._dataset, batch, seed, recipe.augment)
        schedules = {x: parse(x, recipe.model, seed).schedule for x in measured}

        def measure(part: int, logs: object) -> None:
            del logs
            if part + 1 in MOMENTS and schedules:
                minibatches = [
                    Minibatch(*pair, None)
                    for pair in batches.training(part).take(MINIBATCHES)
                ]
                taus = measure_taus(model, minibatches, schedules)
                self._keep((part + 1) * self._steps // PARTS, taus)

        history = model.fit(
            batches.training(0),
            steps_per_epoch=self._steps // PARTS,
            epochs=PARTS,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=measure)],
            shuffle=False,
            verbose=0,
        )
        tests = BatchMaker(self._dataset, BATCH, seed, False).validation()
        scores = model.evaluate(tests, verbose=0, return_dict=True)
        return history.history["loss"], float(scores["accuracy"])

    def _keep(self, step: int, taus: dict[str, Tau]) -> None:
        rows = []
        if self._taus_path.exists():
            rows = [
                row
                for row in read_csv(self._taus_path, TauRow)
                if (*network_of(row), row.step) != (*self._key, step)
            ]
        for name, tau in taus.items():
            network, width, images, steps = self._key
            rows.append(
                TauRow(
                    network,
                    width,
                    images,
                    steps,
                    name,
                    step,
                    **dataclasses.asdict(tau),
                )
            )
        write_csv(self._taus_path, rows, TauRow)


def network_of(row: Run | TauRow) -> tuple[str, float, int, int]:
    """What all runs of a network have in common."""
    return row.network, row.width, row.images, row.steps


def read_rows(path: Path) -> list[RunRow]:
    """The runs so far."""
    return read_csv(path, RunRow) if path.exists() else []
