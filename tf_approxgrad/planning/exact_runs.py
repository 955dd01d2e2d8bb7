"""Exact training runs, from which the cost of noise is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tf_approxgrad.utils.checks import check_finite, check_integer

# The final loss of a run is the mean over this share of it.
_FINAL_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class BatchRun:
    """The end of a training run with exact gradients, for `Plan.predict`.

    Attributes:
        batch_size: Examples of a minibatch, an integer >= 1.
        loss: Final training loss.
        accuracy: Final accuracy, from 0 to 1. `None` if it isn't known.
        steps: Number of training steps. `None` if it isn't known.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value isn't allowed, such as NaN.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.BatchRun(batch_size=64, loss=0.34, accuracy=0.876, steps=600)
    BatchRun(batch_size=64, loss=0.34, accuracy=0.876, steps=600)
    """

    batch_size: int
    loss: float
    accuracy: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        size = check_integer("batch_size", self.batch_size, 1)
        of_run = f"of the run with batch_size={size}"
        check_finite(f"loss {of_run}", self.loss, "a finite number")
        if self.accuracy is not None:
            allowed = "a number from 0 to 1, or None"
            name = f"accuracy {of_run}"
            if check_finite(name, self.accuracy, allowed, low=0) > 1:
                raise ValueError(f"{name} must be {allowed}, got {self.accuracy!r}")
        if self.steps is not None:
            check_integer(f"steps {of_run}", self.steps, 1)


def read_runs(runs: Any) -> list[BatchRun]:
    """The argument `runs` of `Plan.predict`.

    Raises:
        TypeError: If it has another type.
        ValueError: If a run's values aren't allowed, or the numbers of steps differ.
    """
    if isinstance(runs, Mapping):
        found = [
            _read_run(size, run, is_one_of_several=isinstance(value, list | tuple))
            for size, value in runs.items()
            for run in (value if isinstance(value, list | tuple) else [value])
        ]
    elif isinstance(runs, Iterable) and not isinstance(runs, str):
        found = list(runs)
    else:
        found = [runs]
    for run in found:
        if not isinstance(run, BatchRun):
            raise TypeError(
                "runs must be a list of BatchRun, or a dict of a History or a dict "
                f"with 'loss' by batch size, got {run!r:.80} ({type(run).__name__})"
            )
    steps = {run.steps for run in found if run.steps is not None}
    if len(steps) > 1:
        raise ValueError(
            "runs must have the same number of steps, as more steps lower the loss, "
            f"too, got {', '.join(map(str, sorted(steps)))}: pass steps_per_epoch to "
            "fit"
        )
    return found


def _read_run(batch_size: Any, value: Any, is_one_of_several: bool) -> BatchRun:
    size = check_integer("a batch size of runs", batch_size, 1)
    name = f"runs[{size}]"
    if isinstance(value, BatchRun):
        if value.batch_size != size:
            raise ValueError(
                f"{name} must be a run with batch_size={size}, got {value}"
            )
        return value
    # Numbers in a list may be the losses of several runs, or of the epochs of one.
    if is_one_of_several and not isinstance(value, Mapping | keras.callbacks.History):
        raise TypeError(
            f"{name} must be a list of runs, each a History, a dict with 'loss' or a "
            f"BatchRun, got {value!r:.80} ({type(value).__name__}) in it"
        )
    losses, accuracies = read_history(name, value)
    per_epoch = (getattr(value, "params", None) or {}).get("steps")
    return BatchRun(
        size,
        final_value(losses),
        None if accuracies is None else final_value(accuracies),
        per_epoch * len(losses) if per_epoch else None,
    )


def read_history(name: str, value: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Losses and accuracies of a run, by epoch or step.

    Args:
        name: The argument's name, for messages.
        value: A Keras History, a dict as it holds, with numbers or lists, or a list of
            losses.

    Returns:
        The losses; and the values of the first metric whose name ends in "accuracy" or
        "acc", of the validation if it has one. `None` if there is none.

    Raises:
        TypeError: If it has another type.
        ValueError: If there are no losses, or a value isn't finite.
    """
    logs = value.history if isinstance(value, keras.callbacks.History) else value
    if not isinstance(logs, Mapping):
        logs = {"loss": logs}
    names = [key for key in logs if str(key).endswith(("accuracy", "acc"))]
    names.sort(key=lambda key: not key.startswith("val_"))
    found = []
    for key in ["loss", *names[:1]]:
        allowed = f"finite numbers in {key!r}"
        try:
            values = np.array(logs.get(key, []), np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{name} must have {allowed}, got {logs[key]!r:.80}"
            ) from error
        if len(values) == 0 or not np.isfinite(values).all():
            raise ValueError(f"{name} must have {allowed}, got {logs.get(key)!r:.80}")
        found.append(values)
    return found[0], found[1] if names else None


def final_value(values: np.ndarray) -> float:
    """The mean over the last tenth."""
    return earlier_value(values, 1.0)


def earlier_value(values: np.ndarray, factor: float) -> float:
    """The mean over a tenth that ends a factor before the last value.

    Args:
        values: Values of equal parts of a run.
        factor: At least 1.

    Raises:
        ValueError: If there are too few values.
    """
    window = max(1, int(len(values) * _FINAL_SHARE))
    if len(values) / factor < window:
        raise ValueError(
            f"history must have at least {math.ceil(factor * window)} values to tell "
            f"the one that was {factor:.2f} times as early, got {len(values)}"
        )
    sums = np.concatenate([[0.0], np.cumsum(values)])
    end = len(values) / factor
    low, high = np.interp([end - window, end], np.arange(len(sums)), sums)
    return float(high - low) / window
