"""Rows of made-up runs."""

import dataclasses
import math

from benchmarks.frontier.runs import AccuracyRow
from benchmarks.machine import Machine
from benchmarks.training.recipe import Recipe

MACHINE = Machine("a cpu", 2, "avx2", 1e9, 1e10, "2.21.0", "0.1.0")
RECIPE = Recipe(model="cnn2", images=128, epochs=2, batch=40, width=0.1)


def make_row(setting="full", seed=0, **changes) -> AccuracyRow:
    values = dataclasses.asdict(MACHINE) | dataclasses.asdict(RECIPE)
    values |= {"setting": setting, "seed": seed, "loss": 1.0, "holdout_accuracy": 0.5}
    values |= {"test_accuracy": 0.25, "epoch_seconds": math.nan}
    return AccuracyRow(**values | changes)
