"""The training runs: made once, resumed at the last whole epoch."""

from __future__ import annotations

import dataclasses
import math
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import keras

import tf_approxgrad as tfag
from benchmarks.frontier.runs import lock
from benchmarks.rows import read_csv, write_csv
from benchmarks.time_to_loss.contenders import Contender
from benchmarks.time_to_loss.results import Point
from benchmarks.training.batches import BatchMaker
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.datasets import Dataset
from benchmarks.training.recipe import Recipe

# Points of a curve in an epoch.
_POINTS = 2
# A step of more than the median times this has done something else as well.
_USUAL = 1.2
# Epochs from one test to the next.
_TEST_EVERY = 2


class Store:
    """The folder of the results.

    Args:
        folder: An existing folder.
        network: Name of the network.
    """

    def __init__(self, folder: Path, network: str) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"results={str(folder)!r}: there is no such folder")
        self._folder = folder
        self.network = network
        self.path = folder / f"{network}.csv"
        self.times_path = folder / f"{network}_times.csv"
        self.recipe_path = folder / f"{network}.json"
        self._running = folder / "time_to_loss.running"
        # One for all networks: whoever times wants to be alone.
        self.machine_lock = self._running / "machine.lock"

    def points(self) -> list[Point]:
        """The points of the finished runs."""
        return read_csv(self.path, Point) if self.path.exists() else []

    def add(self, points: list[Point]) -> None:
        """Adds a run. The order doesn't depend on when runs were finished."""
        with lock(self._running / "rows.lock", wait=True):
            rows = [*self.points(), *points]
            rows.sort(key=lambda x: (x.contender, x.seed, x.steps))
            write_csv(self.path, rows, Point)

    def has(self, contender: Contender, seed: int) -> bool:
        """Whether a run is finished."""
        return any(
            (x.contender, x.seed) == (str(contender), seed) for x in self.points()
        )

    def decisions(self, batch: int, seed: int) -> Path:
        """The file of what adaptive/BATCH decided."""
        return self._folder / f"{self.network}_adaptive{batch}_seed{seed}.json"

    def checkpoint(self, contender: Contender, seed: int) -> Path:
        """The folder of a run in progress."""
        name = str(contender).replace("/", "-").replace(":", "_")
        return self._running / f"{self.network}-{name}-seed{seed}"


def make_run(
    store: Store, contender: Contender, seed: int, recipe: Recipe, dataset: Dataset
) -> None:
    """Makes or continues a run, and adds its points."""
    recipe = dataclasses.replace(recipe, batch=contender.batch)
    batches = BatchMaker(dataset, recipe.batch, seed, recipe.augment)
    decisions = store.decisions(recipe.batch, seed)
    model = contender.model(
        recipe, seed, dataset.image_shape, batches.steps_per_epoch, decisions
    )
    folder = store.checkpoint(contender, seed)
    fingerprint = dataclasses.asdict(recipe) | {"seed": seed, "way": contender.way}
    checkpoint = Checkpoint(folder, fingerprint)
    state = checkpoint.restore({"model": model}) or {"epoch": 0, "points": []}
    curve = _Curve(contender, seed, batches, checkpoint, state["points"])
    callbacks: list[keras.callbacks.Callback] = [curve]
    if contender.adapts:
        if not state["epoch"]:
            decisions.unlink(missing_ok=True)
        callbacks.insert(0, tfag.AdaptivePlan(path=decisions))
    if state["epoch"]:
        print(f"  continuing after epoch {state['epoch']}", flush=True)
    if state["epoch"] < recipe.epochs:
        model.fit(
            batches.training(state["epoch"]),
            initial_epoch=state["epoch"],
            epochs=recipe.epochs,
            steps_per_epoch=batches.steps_per_epoch,
            callbacks=callbacks,
            verbose=0,
        )
    store.add(curve.points)
    shutil.rmtree(folder, ignore_errors=True)
    keras.utils.clear_session()


class _Curve(keras.callbacks.Callback):
    """Collects the points of a run, and saves it after each epoch."""

    def __init__(
        self,
        contender: Contender,
        seed: int,
        batches: BatchMaker,
        checkpoint: Checkpoint,
        points: list[dict[str, Any]],
    ) -> None:
        super().__init__()
        # Logs are numbers of the step that has just ended.
        self.async_safe = False
        self.points = [Point(**x) for x in points]
        self._contender, self._seed = contender, seed
        self._batches, self._checkpoint = batches, checkpoint
        self._ends = [
            round(batches.steps_per_epoch * (i + 1) / _POINTS) for i in range(_POINTS)
        ]
        self._begin = self._cpu_begin = 0.0
        # Of the steps since the last point.
        self._losses: list[float] = []
        self._times: list[float] = []
        self._cpu_times: list[float] = []
        self._sum = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._sum = 0.0
        self._begin, self._cpu_begin = time.perf_counter(), time.process_time()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        now, cpu_now = time.perf_counter(), time.process_time()
        self._times.append(now - self._begin)
        self._cpu_times.append(cpu_now - self._cpu_begin)
        self._begin, self._cpu_begin = now, cpu_now
        # The logs hold the mean over the epoch's steps.
        total = float((logs or {})["loss"]) * (batch + 1)
        self._losses.append(total - self._sum)
        self._sum = total
        if batch + 1 in self._ends:
            self._add_point()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % _TEST_EVERY == 0 or epoch + 1 == self.params["epochs"]:
            scores = self.model.evaluate(
                self._batches.validation(), verbose=0, return_dict=True
            )
            self.points[-1] = dataclasses.replace(
                self.points[-1], test_accuracy=float(scores["accuracy"])
            )
        last = self.points[-1]
        print(
            f"  epoch {epoch + 1}: loss {last.loss:.3f}, test {last.test_accuracy:.4f},"
            f" {last.seconds:.0f} s, {last.overhead:.1f} s overhead"
            f" {_plan(logs or {})}",
            flush=True,
        )
        points = [dataclasses.asdict(x) for x in self.points]
        self._checkpoint.save(
            {"model": self.model}, epoch + 1, {"epoch": epoch + 1, "points": points}
        )

    def _add_point(self) -> None:
        before = self.points[-1] if self.points else None
        median = statistics.median(self._cpu_times)
        overhead = sum(x - median for x in self._cpu_times if x > _USUAL * median)
        steps = len(self._losses) + (before.steps if before else 0)
        self.points.append(
            Point(
                contender=str(self._contender),
                seed=self._seed,
                steps=steps,
                images=steps * self._contender.batch,
                loss=sum(self._losses) / len(self._losses),
                test_accuracy=math.nan,
                seconds=sum(self._times) + (before.seconds if before else 0.0),
                overhead=overhead + (before.overhead if before else 0.0),
            )
        )
        self._losses, self._times, self._cpu_times = [], [], []


def _plan(logs: dict[str, Any]) -> str:
    names = ("plan_speed_up", "plan_tau")
    return ", ".join(f"{x} {logs[x]:.3f}" for x in names if x in logs)
