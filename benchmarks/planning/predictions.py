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

import numpy as np

from benchmarks.arguments import add_threads, at_least, make_parser
from benchmarks.frontier.runs import lock
from benchmarks.machine import ROOT, measure_machine, set_threads
from benchmarks.planning.prediction_runs import BATCH, Run, agreement
from benchmarks.planning.prediction_training import (
    BIASED,
    PARTS,
    UNBIASED,
    RunRow,
    Trainer,
    network_of,
    read_rows,
)
from benchmarks.rows import align, write_csv
from benchmarks.training.datasets import load_dataset
from benchmarks.training.recipe import Recipe
from benchmarks.training.settings import NETWORKS
from tf_approxgrad.planning.exact_runs import BatchRun
from tf_approxgrad.planning.prediction import (
    predict_by_history,
    predict_by_runs,
    without_runs,
)

_RESULTS = ROOT / "benchmarks" / "results" / "predictions.csv"


def predicted(rows: Sequence[RunRow]) -> list[RunRow]:
    """The runs, approximate ones with what exact ones of their network predict."""
    found = []
    for row in rows:
        exact = [x for x in rows if x.is_exact and network_of(x) == network_of(row)]
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
