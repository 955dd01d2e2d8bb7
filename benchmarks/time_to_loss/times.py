"""Step times of contenders, each in turns with TensorFlow's gradients at 128."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from benchmarks.frontier.runs import lock
from benchmarks.machine import Machine
from benchmarks.paired_times import PairedTimes
from benchmarks.rows import merge, read_csv, write_csv
from benchmarks.time_to_loss.contenders import Contender, decisions_of, follow
from benchmarks.time_to_loss.results import StepTime
from benchmarks.time_to_loss.runs import Store
from benchmarks.training.batches import BatchMaker
from benchmarks.training.datasets import Dataset
from benchmarks.training.recipe import Recipe

BASELINE = Contender("full", 128)
_WARM_UP_STEPS = 3


@dataclasses.dataclass(frozen=True)
class TimeRow(StepTime, Machine):
    """A step time, with the machine that it was taken on."""


def read_times(path: Path) -> list[TimeRow]:
    """The rows of a file; none if there is no file."""
    return read_csv(path, TimeRow) if path.exists() else []


def time_steps(
    store: Store,
    contenders: Sequence[Contender],
    seeds: int,
    recipe: Recipe,
    dataset: Dataset,
    steps: int,
    machine: Machine,
) -> None:
    """Times what has no row yet.

    Raises:
        ValueError: If runs are being made.
    """
    with lock(store.machine_lock) as alone:
        if not alone:
            raise ValueError("runs are being made: time when they have ended")
        for contender in contenders:
            for seed, decided in _variants(store, contender, seeds):
                rows = read_times(store.times_path)
                key = (str(contender), seed, decided)
                if any((x.contender, x.seed, x.decided) == key for x in rows):
                    continue
                path = store.decisions(contender.batch, max(seed, 0))
                row = _measure(contender, seed, decided, path, recipe, dataset, steps)
                rows.append(merge(TimeRow, machine, row))
                rows.sort(key=lambda x: (x.contender, x.seed, x.decided))
                write_csv(store.times_path, rows, TimeRow)
                print(
                    f"{contender}, seed {seed}, decided at {decided}: "
                    f"{row.step_ms:.1f} ms, {row.ratio:.3f} of {BASELINE}'s",
                    flush=True,
                )
                keras.utils.clear_session()


def _variants(store: Store, contender: Contender, seeds: int) -> list[tuple[int, int]]:
    """The pairs of seed and first step of what there is to time."""
    if not (contender.adapts or contender.way == "fixed"):
        return [(-1, 0)]
    pairs = []
    for seed in range(seeds):
        found = decisions_of(store.decisions(contender.batch, seed))
        if found and contender.adapts:
            pairs += [(seed, decision.step) for decision in found]
        elif found:
            pairs.append((seed, 0))
    return pairs


def _measure(
    contender: Contender,
    seed: int,
    decided: int,
    decisions: Path,
    recipe: Recipe,
    dataset: Dataset,
    steps: int,
) -> StepTime:
    functions = {
        "full": _step(BASELINE, recipe, dataset, decisions),
        "own": _step(contender, recipe, dataset, decisions, decided),
    }
    times = PairedTimes(list(functions), 1, _WARM_UP_STEPS)
    for _ in range(_WARM_UP_STEPS + steps):
        times.run(functions)
    ratios = [1 / x for x in times.ratios("own", "full")]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return StepTime(
        contender=str(contender),
        seed=seed,
        decided=decided,
        step_ms=times.step_ms("own"),
        full_ms=times.step_ms("full"),
        ratio=middle,
        low=low,
        high=high,
        steps=steps,
    )


def _step(
    contender: Contender,
    recipe: Recipe,
    dataset: Dataset,
    decisions: Path,
    decided: int = 0,
) -> Callable[[], object]:
    """A training step, which waits for its loss."""
    recipe = dataclasses.replace(recipe, batch=contender.batch)
    batches = BatchMaker(dataset, recipe.batch, 0, recipe.augment)
    model = contender.model(
        recipe, 0, dataset.image_shape, batches.steps_per_epoch, decisions
    )
    if contender.adapts:
        follow(model, decisions, decided)
    iterator = iter(batches.training(0))
    return lambda: model.train_on_batch(*next(iterator))
