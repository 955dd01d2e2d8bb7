"""The frontier's step times: each setting against the full gradient, in turns."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from benchmarks.frontier.points import StepTime
from benchmarks.frontier.runs import lock
from benchmarks.machine import Machine
from benchmarks.rows import merge, read_csv, write_csv
from benchmarks.training.datasets import Dataset
from benchmarks.training.loop import Training
from benchmarks.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class TimeRow(StepTime, Machine):
    """A step time with the machine that it was taken on."""


def measure(name: str, recipe: Recipe, dataset: Dataset, steps: int) -> StepTime:
    """Times `steps` steps or a little more, of whole periods of the schedule."""
    training = Training(["full", name], recipe, dataset, seed=0)
    timed = training.time(steps)
    times = training.times
    ratios = times.ratios(name, "full")
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return StepTime(
        model=recipe.model,
        batch=recipe.batch,
        width=recipe.width,
        setting=name,
        full_ms=times.step_ms("full"),
        step_ms=times.step_ms(name),
        faster=middle,
        faster_low=low,
        faster_high=high,
        steps=timed,
    )


def read_times(path: Path, recipe: Recipe) -> list[TimeRow]:
    """The rows of the file, none if there is no file.

    Raises:
        ValueError: If the file isn't one of step times, or of other networks.
    """
    rows = read_csv(path, TimeRow) if path.exists() else []
    for row in rows:
        for name in ("model", "batch", "width"):
            if getattr(row, name) != getattr(recipe, name):
                raise ValueError(
                    f"{path} holds step times with {name}={getattr(row, name)!r}, not "
                    f"{getattr(recipe, name)!r}: name another --results, or repeat the "
                    "arguments."
                )
    return rows


def time_settings(
    path: Path,
    machine_lock: Path,
    names: Sequence[str],
    recipe: Recipe,
    dataset: Dataset,
    steps: int,
    machine: Machine,
    deadline: float,
) -> None:
    """Times settings one after the other; a row replaces the setting's last one.

    None is begun after the deadline, as `time.monotonic` counts.

    Raises:
        ValueError: If runs of a sweep are being made.
    """
    with lock(machine_lock) as alone:
        if not alone:
            raise ValueError(
                "speed is timed alone, but runs are being made: wait for them to end."
            )
        for number, name in enumerate(names, 1):
            if time.monotonic() >= deadline:
                print(f"There is no time left for {', '.join(names[number - 1 :])}.")
                return
            print(f"[{number}/{len(names)}] {name}", flush=True)
            step = measure(name, recipe, dataset, steps)
            row = merge(TimeRow, machine, step)
            others = [x for x in read_times(path, recipe) if x.setting != name]
            rows = sorted([*others, row], key=lambda x: x.setting)
            write_csv(path, rows, TimeRow)
            print(
                f"  {step.step_ms:.1f} ms, {step.faster:.3f} times as fast as full "
                f"({step.faster_low:.3f} to {step.faster_high:.3f})",
                flush=True,
            )
            keras.utils.clear_session()
