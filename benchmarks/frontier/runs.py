"""The frontier's training runs: who makes which, and where their rows are kept.

Any number of processes may work at one sweep. A run that nobody has made belongs to the
process that holds its lock; the system lets go of the locks of a process that ends, in
whatever way. Rows are added under a lock, too, and the file is replaced in one step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import math
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras

from benchmarks.frontier.points import Accuracy
from benchmarks.machine import Machine
from benchmarks.rows import merge, read_csv, write_csv
from benchmarks.training.batches import BatchMaker
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.datasets import Dataset
from benchmarks.training.loop import Training
from benchmarks.training.recipe import Recipe

_RECENT_RUNS = 6


@dataclasses.dataclass(frozen=True)
class AccuracyRow(Accuracy, Recipe, Machine):
    """A run with all that it depends on."""


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Holds the lock that is the file `path`, if it can be had.

    Args:
        path: The file. It is made where it is missing, and stays.
        shared: Whether others may have the lock, too, if they share it.
        wait: Whether to wait for it.

    Yields:
        Whether the lock is held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("a") as file:
        try:
            fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


class Store:
    """The file of a sweep's rows, and the folder of what is in progress beside it.

    Args:
        path: The CSV file.
        recipe: What the runs have in common.

    Raises:
        FileNotFoundError: If the file's folder doesn't exist.
        ValueError: If the file isn't one of runs, or of another sweep.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"results={str(path)!r}: there is no such folder.")
        self.path = path
        self.recipe = recipe
        self.folder = path.parent / "frontier.running" / path.stem
        # One for all sweeps of a folder: whoever times wants to be alone.
        self.machine_lock = self.folder.parent / "machine.lock"
        self.rows()

    def rows(self) -> list[AccuracyRow]:
        """The rows of the runs that are finished."""
        if not self.path.exists():
            return []
        rows = read_csv(self.path, AccuracyRow)
        for name, value in dataclasses.asdict(self.recipe).items():
            for row in rows:
                if getattr(row, name) != value:
                    raise ValueError(
                        f"results={str(self.path)!r} holds runs with "
                        f"{name}={getattr(row, name)!r}, not {value!r}: name another "
                        "file, or repeat the arguments."
                    )
        return rows

    def add(self, row: AccuracyRow) -> None:
        """Adds a row. The order doesn't depend on when runs were finished."""
        with lock(self.folder / "rows.lock", wait=True):
            rows = [*self.rows(), row]
            rows.sort(key=lambda x: (x.seed, x.setting))
            write_csv(self.path, rows, AccuracyRow)

    def has(self, setting: str, seed: int) -> bool:
        """Whether the run is finished."""
        return any((x.setting, x.seed) == (setting, seed) for x in self.rows())

    def checkpoint_folder(self, setting: str, seed: int) -> Path:
        """Where the checkpoint of a run in progress is."""
        return self.folder / f"{re.sub('[^-.=@a-z0-9]', '_', setting)}-seed{seed}"


class Worker:
    """Makes the runs of a sweep that nobody else makes.

    Args:
        store: Where the rows go.
        dataset: The images, with a part of the training images held out.
        test: The same training images, with the test images.
        machine: What the rows name.
    """

    def __init__(
        self, store: Store, dataset: Dataset, test: Dataset, machine: Machine
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._test = test
        self._machine = machine
        # What this process needed lately says best how fast the machine is now.
        self._epoch_seconds: list[float] = []
        seconds = [row.epoch_seconds for row in store.rows()]
        self._epoch_seconds_before = [x for x in seconds if not math.isnan(x)]

    def work(self, names: Sequence[str], seeds: int, deadline: float) -> None:
        """Makes runs, seed by seed, as long as there is time.

        Args:
            names: The settings.
            seeds: How many seeds, from 0.
            deadline: As `time.monotonic` counts. No run is begun that takes longer, as
              far as runs before it tell.
        """
        runs = [(name, seed) for seed in range(seeds) for name in names]
        with lock(self._store.machine_lock, shared=True) as held:
            if not held:
                raise ValueError("a --time is running here: train when it has ended.")
            for number, (name, seed) in enumerate(runs, 1):
                if self._store.has(name, seed):
                    continue
                path = self._store.checkpoint_folder(name, seed)
                with lock(path.with_name(f"{path.name}.lock")) as mine:
                    if not mine:
                        print(f"{name}, seed {seed}: another process is at it")
                        continue
                    # Another process may have made it since.
                    if self._store.has(name, seed):
                        continue
                    print(f"[{number}/{len(runs)}] {name}, seed {seed}", flush=True)
                    if not self._make_run(name, seed, path, deadline):
                        print("There isn't enough time left for this run.")
                        return

    def _make_run(self, name: str, seed: int, path: Path, deadline: float) -> bool:
        """Makes or continues one run, unless time is too short."""
        recipe = self._store.recipe
        fingerprint = dataclasses.asdict(recipe) | {"seed": seed, "setting": name}
        checkpoint = Checkpoint(path, fingerprint)
        training = Training([name], recipe, self._dataset, seed, checkpoint)
        left = recipe.epochs - training.finished
        if training.finished:
            print(f"Continuing after epoch {training.finished}.")
        start = time.monotonic()
        if start + left * self._seconds_expected() >= deadline:
            return False
        training.train()
        seconds = math.nan
        if left:
            seconds = (time.monotonic() - start) / left
            self._epoch_seconds.append(seconds)
        (run,) = training.runs
        tests = BatchMaker(self._test, recipe.batch, seed, False).validation()
        scores = run.model.evaluate(tests, verbose=0, return_dict=True)
        accuracy = Accuracy(
            setting=name,
            seed=seed,
            loss=run.rows[-1].loss,
            holdout_accuracy=run.rows[-1].val_accuracy,
            test_accuracy=float(scores["accuracy"]),
            epoch_seconds=seconds,
        )
        self._store.add(merge(AccuracyRow, self._machine, recipe, accuracy))
        shutil.rmtree(path, ignore_errors=True)
        print(
            f"  {accuracy.holdout_accuracy:.2%} of the images held out, "
            f"{accuracy.test_accuracy:.2%} of the test images",
            flush=True,
        )
        keras.utils.clear_session()
        return True

    def _seconds_expected(self) -> float:
        """What an epoch should take at most; 0 if nothing is known."""
        seconds = self._epoch_seconds[-_RECENT_RUNS:] or self._epoch_seconds_before
        return max(seconds, default=0.0)
