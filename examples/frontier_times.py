"""The frontier's step times: each setting against the full gradient, in turns."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import datasets
import keras
import settings
import training
from batches import BatchMaker
from benchmarking import Machine
from frontier_runs import lock
from frontier_settings import parse
from results import read_csv, write_csv
from settings import Settings
from step_times import PairedTimes

_WARM_UP_STEPS = 4


@dataclasses.dataclass(frozen=True)
class StepTime:
    """How fast a step is under a setting.

    Attributes:
      model: The network that the full gradient trains.
      batch: Images in a batch.
      width: Factor on the network's channels.
      setting: See frontier_settings.py.
      full_ms: Median time of a step with the full gradient.
      step_ms: That under the setting.
      faster: How many times as fast as full the setting is: the median over pairs of
        neighbouring windows.
      faster_low: The first quartile of that.
      faster_high: The third quartile.
      steps: Timed steps of each.
    """

    model: str
    batch: int
    width: float
    setting: str
    full_ms: float
    step_ms: float
    faster: float
    faster_low: float
    faster_high: float
    steps: int


@dataclasses.dataclass(frozen=True)
class TimeRow(StepTime, Machine):
    """A step time with the machine that it was taken on."""


def measure(
    name: str, base: Settings, dataset: datasets.Dataset, steps: int
) -> StepTime:
    """Times `steps` steps or a little more, of whole periods of the schedule."""
    batches = BatchMaker(dataset, base.batch, 0, base.augment)
    runs = []
    for setting in ("full", name):
        chosen, schedule = parse(setting, base)
        model = settings.make_model(
            chosen,
            schedule,
            dataset.image_shape,
            dataset.classes,
            batches.steps_per_epoch,
        )
        runs.append(training.Run(setting, model))
    period = schedule.period if schedule is not None else 1
    # Whole periods, so that no window straddles two of the orders of PairedTimes.
    warm_up, steps = (-(-x // period) * period for x in (_WARM_UP_STEPS, steps))
    times = PairedTimes(["full", name], period, warm_up)
    training.bind_steps(runs)
    iterator = iter(batches.training(0, ahead=False))
    training.train_in_turns(runs, iterator, warm_up + steps, times)
    ratios = times.ratios(name, "full")
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return StepTime(
        model=base.model,
        batch=base.batch,
        width=base.width,
        setting=name,
        full_ms=times.step_ms("full"),
        step_ms=times.step_ms(name),
        faster=middle,
        faster_low=low,
        faster_high=high,
        steps=steps,
    )


def read_times(path: Path, base: Settings) -> list[TimeRow]:
    """The rows of the file, none if there is no file.

    Raises:
      ValueError: If the file isn't one of step times, or of other networks.
    """
    rows = read_csv(path, TimeRow) if path.exists() else []
    for row in rows:
        for name in ("model", "batch", "width"):
            if getattr(row, name) != getattr(base, name):
                raise ValueError(
                    f"{path} holds step times with {name}={getattr(row, name)!r}, not "
                    f"{getattr(base, name)!r}: name another --results, or repeat the "
                    "flags."
                )
    return rows


def time_settings(
    path: Path,
    machine_lock: Path,
    names: Sequence[str],
    base: Settings,
    dataset: datasets.Dataset,
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
            step = measure(name, base, dataset, steps)
            row = TimeRow(**dataclasses.asdict(machine), **dataclasses.asdict(step))
            others = [x for x in read_times(path, base) if x.setting != name]
            rows = sorted([*others, row], key=lambda x: x.setting)
            write_csv(path, rows, TimeRow)
            print(
                f"  {step.step_ms:.1f} ms, {step.faster:.3f} times as fast as full "
                f"({step.faster_low:.3f} to {step.faster_high:.3f})",
                flush=True,
            )
            keras.utils.clear_session()
