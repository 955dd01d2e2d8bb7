r"""Times whole training steps of the paper's networks under its schedules.

    python examples/benchmark_step.py --models=resnet20 --csv=step.csv

For each network and schedule, one model with the full gradient, one with zero and one
with max train on the same made-up batch, their steps in turns. A ratio is the median
over windows of one period of the schedule.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path

import keras
import numpy as np
from absl import app, flags
from benchmarking import Machine, check_csv, measure_machine, set_threads
from results import write_csv
from settings import MODELS
from step_times import PairedTimes

import tf_approxgrad as tfag

FLAGS = flags.FLAGS
SCHEDULES = ("1", "2", "3", "all_but_first")
_METHODS = ("full", "zero", "max")
_IMAGE_SHAPE = (32, 32, 3)
_WARM_UP_STEPS = 3


def define_flags() -> None:
    """Defines the flags; train.py has some of the same names."""
    flags.DEFINE_list("models", "cnn2,resnet20,vgg19", f"Of {', '.join(MODELS)}.")
    flags.DEFINE_list("schedules", ",".join(SCHEDULES), f"Of {', '.join(SCHEDULES)}.")
    flags.DEFINE_string("csv", None, "File to write the rows to.")
    flags.DEFINE_integer("batch", 128, "Images in a batch.", lower_bound=1)
    flags.DEFINE_float("width", 1.0, "Factor on the networks' channels.")
    flags.DEFINE_integer("steps", 24, "Timed steps of each method.", lower_bound=4)
    flags.DEFINE_integer("threads", None, "By default one for each processor.", 1)


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a network under a schedule.

    Attributes:
      model: The network.
      schedule: One of `SCHEDULES`; the numbers are the paper's.
      full_ms: Median time of a step with the full gradient.
      zero_ms: That with zero.
      max_ms: That with max.
      zero_ratio: How many times as fast as full zero is.
      max_ratio: How many times as fast as full max is.
      share_kept: The share of zero's gain in time that max keeps, in percent; NaN
        where zero gains none.
    """

    model: str
    schedule: str
    full_ms: float
    zero_ms: float
    max_ms: float
    zero_ratio: float
    max_ratio: float
    share_kept: float

    @classmethod
    def from_times(cls, model: str, schedule: str, times: PairedTimes) -> Row:
        saved = {name: times.speed_up(name, "full") / 100 for name in ("zero", "max")}
        share = saved["max"] / saved["zero"] if saved["zero"] > 0 else math.nan
        return cls(
            model=model,
            schedule=schedule,
            full_ms=times.step_ms("full"),
            zero_ms=times.step_ms("zero"),
            max_ms=times.step_ms("max"),
            zero_ratio=1 / (1 - saved["zero"]),
            max_ratio=1 / (1 - saved["max"]),
            share_kept=100 * share,
        )


@dataclasses.dataclass(frozen=True)
class CsvRow(Row, Machine):
    """A row with all that it depends on."""

    batch: int
    width: float


def make_schedule(name: str, method: str, convolutions: int) -> tfag.Schedule:
    """The paper's schedules 1 to 3, or every layer but the first at every step."""
    if name == "all_but_first":
        return tfag.Constant(method, layers=range(2, convolutions + 1))
    kinds = {"1": tfag.EveryNthLayer, "2": tfag.Alternate, "3": tfag.EveryNthStep}
    return kinds[name](method)


def make_network(name: str, width: float) -> keras.Model:
    arguments = {"input_shape": _IMAGE_SHAPE, "width": width, "seed": 0}
    if name.startswith("resnet"):
        return tfag.models.resnet(int(name.removeprefix("resnet")), **arguments)
    return getattr(tfag.models, name)(**arguments)


def make_model(network: str, schedule: str, method: str, width: float) -> keras.Model:
    """A compiled network; the full gradient is plain Keras."""
    model = make_network(network, width)
    if method != "full":
        convolutions = len(tfag.conversion_report(model).rows)
        chosen = make_schedule(schedule, method, convolutions)
        model = tfag.approximate_gradients(model, chosen)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    if method != "full":
        tfag.bind_step(model, model.optimizer)
    return model


def measure(network: str, schedule: str, batch: int, width: float, steps: int) -> Row:
    """Times `steps` steps of each method, in turns."""
    models = {m: make_model(network, schedule, m, width) for m in _METHODS}
    convolutions = len(tfag.conversion_report(models["full"]).rows)
    period = make_schedule(schedule, "max", convolutions).period
    # Whole periods, so that no window straddles two of the orders of PairedTimes.
    warm_up = -(-_WARM_UP_STEPS // period) * period
    times = PairedTimes(_METHODS, period, warm_up)
    generator = np.random.default_rng(0)
    images = generator.normal(size=(batch, *_IMAGE_SHAPE)).astype(np.float32)
    labels = generator.integers(0, 10, batch)
    for _ in range(warm_up + -(-steps // period) * period):
        seconds = {}
        for method in times.order():
            start = time.perf_counter()
            # It returns a number, so it has waited for the step to end.
            models[method].train_on_batch(images, labels)
            seconds[method] = time.perf_counter() - start
        times.add(seconds)
    return Row.from_times(network, schedule, times)


_FORM = "{:10} {:14} {:>9} {:>9} {:>9} {:>10} {:>9} {:>10}"


def format_row(row: Row) -> str:
    return _FORM.format(
        row.model,
        row.schedule,
        f"{row.full_ms:.1f}",
        f"{row.zero_ms:.1f}",
        f"{row.max_ms:.1f}",
        f"{row.zero_ratio:.3f}x",
        f"{row.max_ratio:.3f}x",
        "-" if math.isnan(row.share_kept) else f"{row.share_kept:.0f}%",
    )


def check_choice(flag: str, chosen: list[str], allowed: tuple[str, ...]) -> None:
    for name in chosen:
        if name not in allowed:
            raise app.UsageError(f"--{flag} has {name!r}, but takes {allowed}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"arguments that aren't flags: {' '.join(argv[1:])}")
    check_choice("models", FLAGS.models, MODELS)
    check_choice("schedules", FLAGS.schedules, SCHEDULES)
    check_csv(FLAGS.csv)
    threads = FLAGS.threads or os.cpu_count() or 1
    set_threads(threads)
    machine = measure_machine(threads)
    print(f"{machine.cpu}, {threads} threads, {machine.instruction_set}; ms a step\n")
    titles = ("model", "schedule", "full", "zero", "max", "full/zero", "full/max")
    print(_FORM.format(*titles, "zero kept"))
    rows = []
    for network in FLAGS.models:
        for schedule in FLAGS.schedules:
            rows.append(
                measure(network, schedule, FLAGS.batch, FLAGS.width, FLAGS.steps)
            )
            print(format_row(rows[-1]), flush=True)
            keras.utils.clear_session()
    if FLAGS.csv:
        common = dataclasses.asdict(machine)
        common |= {"batch": FLAGS.batch, "width": FLAGS.width}
        full = [CsvRow(**dataclasses.asdict(row), **common) for row in rows]
        write_csv(Path(FLAGS.csv), full, CsvRow)


if __name__ == "__main__":
    define_flags()
    app.run(main)
