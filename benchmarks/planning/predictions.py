r"""Holds predictions of a plan's cost against training runs.

    python -m benchmarks.planning.predictions --model=resnet20 --width=0.5

All runs of a network have equally many steps, the same learning rates and Adam. Exact
runs at several batch sizes are the curve that a user would make. The others have batch
128 and approximate gradients. Their tau is measured in the exact run of batch 128 and
seed 0, at three moments, of which the mean counts: nothing of an approximate run is
used for its prediction. Runs that the results have already aren't made again, so the
program can be interrupted at any moment; --minutes=0 only predicts and reports. A run
takes a quarter of a minute (cnn2) to a minute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from benchmarks.arguments import add_threads, at_least, make_parser
from benchmarks.frontier.runs import lock
from benchmarks.machine import ROOT, Machine, measure_machine, set_threads
from benchmarks.planning.prediction_runs import BATCH, Run, agreement
from benchmarks.planning.taus import MINIBATCHES, Tau, measure_taus
from benchmarks.rows import align, merge, read_csv, write_csv
from benchmarks.training.batches import BatchMaker
from benchmarks.training.datasets import Dataset, load_dataset
from benchmarks.training.recipe import Recipe, make_model
from benchmarks.training.settings import NETWORKS, parse
from tf_approxgrad.planning.exact_runs import BatchRun
from tf_approxgrad.planning.minibatches import Minibatch
from tf_approxgrad.planning.prediction import (
    predict_by_history,
    predict_by_runs,
    without_runs,
)

_RESULTS = ROOT / "benchmarks" / "results" / "predictions.csv"
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
            (*_network(row), row.setting, row.batch, row.seed) == run
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
            if (*_network(row), row.setting) == (*self._key, name)
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
                if (*_network(row), row.step) != (*self._key, step)
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


def _network(row: Run | TauRow) -> tuple[str, float, int, int]:
    """What all runs of a network have in common."""
    return row.network, row.width, row.images, row.steps


def read_rows(path: Path) -> list[RunRow]:
    """The runs so far."""
    return read_csv(path, RunRow) if path.exists() else []


def predicted(rows: Sequence[RunRow]) -> list[RunRow]:
    """The runs, approximate ones with what exact ones of their network predict."""
    found = []
    for row in rows:
        exact = [x for x in rows if x.is_exact and _network(x) == _network(row)]
        at_batch = [x for x in exact if x.batch == BATCH]
        has_exact = any(x.seed == row.seed for x in at_batch)
        found.append(
            _predicted(row, exact, at_batch) if has_exact and not row.is_exact else row
        )
    return found


def _predicted(
    row: RunRow, exact: Sequence[RunRow], at_batch: Sequence[RunRow]
) -> RunRow:
    base = without_runs(row.tau, BATCH, row.noise_batch)
    losses = np.mean([[*map(float, x.losses.split())] for x in at_batch], axis=0)
    # The same batches of images: their part of the differences cancels out.
    beside = next(x for x in at_batch if x.seed == row.seed)
    row = dataclasses.replace(
        row,
        lost_loss=row.loss - beside.loss,
        lost_accuracy=beside.accuracy - row.accuracy,
    )
    # Either may not reach as far as tau: NaN stays then.
    with contextlib.suppress(ValueError):
        by_noise = predict_by_history(base, losses, None)
        row = dataclasses.replace(row, lost_loss_by_noise=by_noise.lost_loss)
    with contextlib.suppress(ValueError):
        runs = [BatchRun(x.batch, x.loss, x.accuracy) for x in exact]
        by_runs = predict_by_runs(base, runs)
        row = dataclasses.replace(
            row,
            predicted_loss=beside.loss + by_runs.lost_loss,
            predicted_lost_loss=by_runs.lost_loss,
            predicted_lost_accuracy=by_runs.lost_accuracy,
            is_extrapolated=by_runs.is_extrapolated,
        )
    return row


def format_agreements(rows: Sequence[Run]) -> str:
    """A line for each network and for all, unbiased and biased settings apart."""
    header = (
        "network",
        "runs",
        "predicted",
        "loss within 5%",
        "rank of loss",
        "of accuracy",
        "of loss by noise",
    )
    approximate = [row for row in rows if not row.is_exact]
    lines = []
    for is_biased in (False, True):
        runs = [row for row in approximate if row.is_biased == is_biased]
        names = dict.fromkeys(row.network for row in runs)
        for name in [*names, "all"]:
            x = agreement([row for row in runs if name in (row.network, "all")])
            kind = "biased" if is_biased else "unbiased"
            counts = map(str, (x.runs, x.predicted, x.close))
            ranks = (f"{y:.2f}" for y in (x.loss, x.accuracy, x.loss_by_noise))
            lines.append((f"{name}, {kind}", *counts, *ranks))
    return align(header, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add_threads(parser)
    add = parser.add_argument
    add("--model", choices=NETWORKS, default="cnn2", help="the network")
    add("--width", type=float, default=1.0, help="factor on its channels and units")
    add("--images", type=at_least(BATCH), default=10_000, help="images to train on")
    add("--data", default="fashion_mnist", help="the images")
    add("--steps", type=at_least(PARTS), default=300, help="steps of each run")
    add("--exact_seeds", type=at_least(1), default=3, help="runs of each batch size")
    add("--seeds", type=at_least(1), default=2, help="runs of each setting")
    add("--minutes", type=at_least(0, float), default=math.inf, help="time in all")
    add("--results", type=Path, default=_RESULTS, help="the CSV file of the runs")
    args = parser.parse_args(arguments)
    if args.steps % PARTS:
        parser.error(f"--steps={args.steps} must be a multiple of {PARTS}")
    deadline = time.monotonic() + 60 * args.minutes
    recipe = Recipe(
        model=args.model,
        data=args.data,
        images=args.images,
        width=args.width,
        decay_rate=0.1,
    )
    set_threads(args.threads)
    path = args.results
    with lock(path.parent / f"{path.stem}.running" / "lock") as held:
        if not held:
            parser.error(f"--results={path}: another process is at it")
        if args.minutes:
            dataset = load_dataset(args.data, args.images)
            machine = measure_machine(args.threads)
            trainer = Trainer(recipe, args.steps, dataset, path, machine)
            names = [*UNBIASED, *BIASED]
            trainer.work(names, args.exact_seeds, args.seeds, deadline)
        rows = predicted(read_rows(path))
        write_csv(path, rows, RunRow)
    print(format_agreements(rows))


if __name__ == "__main__":
    main()
