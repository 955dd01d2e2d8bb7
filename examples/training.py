"""Trains one model with fit, or one for each method with their steps interleaved."""

from __future__ import annotations

import collections
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from batches import BatchMaker
from checkpoint import Checkpoint
from results import EpochRow, SummaryRow
from step_times import PairedTimes

import tf_approxgrad as tfag

# Of every start of the program: the first steps trace, allocate and choose algorithms.
_WARM_UP_STEPS = 4


@dataclasses.dataclass
class Run:
    """One method's compiled model, and the rows of its finished epochs."""

    method: str
    model: keras.Model
    rows: list[EpochRow] = dataclasses.field(default_factory=list)

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """Appends the row of an epoch from what Keras logs."""
        rate = float(self.model.optimizer.learning_rate)
        epoch = len(self.rows) + 1
        self.rows.append(EpochRow.from_logs(self.method, epoch, rate, logs))


def restore(runs: list[Run], checkpoint: Checkpoint, times: PairedTimes) -> int:
    """Continues `runs` and `times` from the checkpoint, if there is one.

    Returns:
      The number of epochs that are finished.
    """
    state = checkpoint.restore({run.method: run.model for run in runs})
    if state is None:
        return 0
    for run in runs:
        run.rows = [EpochRow(**row) for row in state["rows"][run.method]]
    if state["times"] is not None:
        times.restore(state["times"])
    return len(runs[0].rows)


def _save(
    runs: list[Run], checkpoint: Checkpoint, times: PairedTimes | None = None
) -> None:
    state = {
        "rows": {run.method: [dataclasses.asdict(x) for x in run.rows] for run in runs},
        "times": times.state() if times is not None else None,
    }
    models = {run.method: run.model for run in runs}
    checkpoint.save(models, len(runs[0].rows), state)


def train(
    run: Run,
    batches: BatchMaker,
    first_epoch: int,
    epochs: int,
    checkpoint: Checkpoint,
    tensorboard: str | None,
) -> None:
    """Trains one model with `fit`, the way that a user does.

    Args:
      run: The model; its rows are appended to.
      batches: What to train and validate on.
      first_epoch: Epochs that are finished.
      epochs: Epochs in all.
      checkpoint: Is saved after each epoch.
      tensorboard: Folder for TensorBoard's logs, or `None`.
    """

    def end_epoch(epoch: int, logs: dict[str, Any]) -> None:
        del epoch
        run.end_epoch(logs)
        _save([run], checkpoint)

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=end_epoch)]
    if tfag.conversion_report(run.model).converted:
        callbacks.append(tfag.ApproximationCallback())
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    run.model.fit(
        batches.training(first_epoch, ahead=True),
        epochs=epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=batches.steps_per_epoch,
        validation_data=batches.validation(),
        callbacks=callbacks,
        shuffle=False,  # The batches come in an order of their own.
        verbose="auto" if sys.stdout.isatty() else 2,
    )


def compare(
    runs: list[Run],
    times: PairedTimes,
    batches: BatchMaker,
    first_epoch: int,
    epochs: int,
    checkpoint: Checkpoint,
    tensorboard: str | None,
) -> None:
    """Trains all models on the same batches, one batch after the other.

    Args:
      runs: The models, each with another method; their rows are appended to.
      times: Says which method goes first at a step, and takes the steps' times.
      batches: What to train and validate on.
      first_epoch: Epochs that are finished.
      epochs: Epochs in all.
      checkpoint: Is saved after each epoch.
      tensorboard: Folder for TensorBoard's logs, one below it for each method, or
        `None`.
    """
    bind_steps(runs)
    writers = {}
    if tensorboard:
        writers = {
            run.method: tf.summary.create_file_writer(
                str(Path(tensorboard) / run.method)
            )
            for run in runs
        }
    iterator = iter(batches.training(first_epoch, ahead=False))
    for epoch in range(first_epoch, epochs):
        print(f"Epoch {epoch + 1}/{epochs}", flush=True)
        logs = train_in_turns(runs, iterator, batches.steps_per_epoch, times)
        for run in runs:
            scores = run.model.evaluate(
                batches.validation(), verbose=0, return_dict=True
            )
            validation = {f"val_{name}": score for name, score in scores.items()}
            run.end_epoch(logs[run.method] | validation)
            if run.method in writers:
                _write_scalars(writers[run.method], run.rows[-1])
        accuracies = [f"{run.method} {run.rows[-1].val_accuracy:.2%}" for run in runs]
        print(f"  validation accuracy: {', '.join(accuracies)}", flush=True)
        _save(runs, checkpoint, times)


def new_times(runs: list[Run], period: int) -> PairedTimes:
    """Where `compare` collects step times; `period` is the schedule's."""
    return PairedTimes([run.method for run in runs], period, _WARM_UP_STEPS)


def bind_steps(runs: list[Run]) -> None:
    """Lets the models' schedules read the step, where there is no callback to do it."""
    for run in runs:
        if tfag.conversion_report(run.model).converted:
            tfag.bind_step(run.model, run.model.optimizer.iterations)


def train_in_turns(
    runs: list[Run], iterator: Iterator[Any], steps: int, times: PairedTimes
) -> dict[str, dict[str, float]]:
    """Trains all models for some steps, each batch by one model after the other.

    Args:
      runs: The models.
      iterator: Gives the batches, all of one size.
      steps: How many.
      times: Says which method goes first at a step, and takes the steps' times.

    Returns:
      Each method's logs, as fit makes them at the end of an epoch.
    """
    by_method = {run.method: run for run in runs}
    # Batches are of one size, so that the mean over batches is that over images.
    sums: dict[str, collections.Counter[str]] = {
        method: collections.Counter() for method in by_method
    }
    progress = keras.utils.Progbar(
        steps,
        verbose=1 if sys.stdout.isatty() else 2,
        stateful_metrics=[f"{run.method} loss" for run in runs],
    )
    for step in range(steps):
        images, labels = next(iterator)
        seconds = {}
        for method in times.order():
            model = by_method[method].model
            # Of this batch alone: some versions of Keras go on with the last one's.
            model.reset_metrics()
            start = time.perf_counter()
            # It returns numbers, so it has waited for the step to end.
            logs = model.train_on_batch(images, labels, return_dict=True)
            seconds[method] = time.perf_counter() - start
            sums[method].update({name: float(value) for name, value in logs.items()})
        times.add(seconds)
        means = [
            (f"{method} loss", totals["loss"] / (step + 1))
            for method, totals in sums.items()
        ]
        progress.update(step + 1, means, finalize=step + 1 == steps)
    return {
        method: {name: total / steps for name, total in totals.items()}
        for method, totals in sums.items()
    }


def _write_scalars(writer: tf.summary.SummaryWriter, row: EpochRow) -> None:
    with writer.as_default(step=row.epoch):
        for name in ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"):
            tf.summary.scalar(name, getattr(row, name))
    writer.flush()


def summarise(runs: list[Run], times: PairedTimes) -> list[SummaryRow]:
    """A row of the comparison's table for each run; one of them is "full"."""
    best = {run.method: max(row.val_accuracy for row in run.rows) for run in runs}
    return [
        SummaryRow(
            method=run.method,
            best_accuracy=best[run.method],
            last_accuracy=run.rows[-1].val_accuracy,
            accuracy_lost=100 * (best["full"] - best[run.method]),
            step_ms=times.step_ms(run.method),
            speed_up=times.speed_up(run.method, baseline="full"),
        )
        for run in runs
    ]
