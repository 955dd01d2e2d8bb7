"""`SwitchToFullOnPlateau`: exact gradients once a metric stops improving."""

from __future__ import annotations

import math
import warnings
import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.conversion.convert import CALLBACK_STATE
from tf_approxgrad.conversion.step_binding import (
    assign_schedule,
    bind_step,
    current_step,
    require_approximated_layers,
)
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.layers.policy import share_approximated
from tf_approxgrad.methods import FullGradient
from tf_approxgrad.schedules import Constant, Schedule, TableSchedule, Until
from tf_approxgrad.training.model_callback import ModelCallback
from tf_approxgrad.training.trace_check import TraceCheck
from tf_approxgrad.utils.checks import check_finite, check_integer

_SMALLER_IS_BETTER = ("loss", "error", "entropy", "perplexity", "mse", "mae")
_LARGER_IS_BETTER = ("acc", "auc", "precision", "recall", "iou", "f1", "score")


class SwitchToFullOnPlateau(ModelCallback):
    """Ends approximation when a metric has stopped improving.

    If no improvement is seen for `patience` epochs, all layers use exact gradients from
    the next step on: the model's schedule becomes `Until(schedule, step)`, and the
    training step is traced again.

    The callback's state is saved with the model's weights. Training resumed by
    `keras.callbacks.BackupAndRestore` or from a weights file continues it; pass this
    callback before the one that saves. For a `tf.train.Checkpoint`, add
    `callback.state` beside the model. A `.keras` file contains the new schedule. Once
    switched, a model stays exact in later calls of `fit` with this callback, also with
    a new optimizer. With another model, or after a new conversion, it begins anew. A
    change of the monitored quantity resets the best value.

    Source: Wang and Nelaturu, "Accelerated CNN Training Through Gradient Approximation"
    (2019), which suggests it for VGG-19. The arguments are those of
    `keras.callbacks.ReduceLROnPlateau`.

    Args:
        monitor: Quantity to be monitored.
        patience: Number of epochs with no improvement after which to switch.
        verbose: 0 is silent, 1 prints a message at the switch.
        mode: `"min"` if smaller is better, `"max"` if larger is; `"auto"` infers it
            from the name of the monitored quantity.
        min_delta: Threshold for an improvement, to only focus on significant changes.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument isn't allowed, or the mode can't be inferred.

    Example:

    >>> import tf_approxgrad as tfag
    >>> callbacks = [
    ...     tfag.ApproximationCallback(),
    ...     tfag.SwitchToFullOnPlateau(monitor="val_accuracy", patience=3, verbose=1),
    ... ]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
    ) -> None:
        super().__init__()
        self.monitor = monitor
        self.patience = check_integer("patience", patience, 1)
        self.verbose = verbose
        self.mode = _infer_mode(monitor) if mode == "auto" else mode
        if self.mode not in ("min", "max"):
            raise ValueError(f"mode={mode!r} must be 'auto', 'min' or 'max'.")
        self.min_delta = check_finite("min_delta", min_delta, "a number >= 0", low=0.0)
        # Keras needn't wait for each batch.
        self.async_safe = True

    def begin_anew(self) -> None:
        self.state = PlateauState()
        self._trace_check = TraceCheck()
        self._has_trained = False

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        saved = vars(model).get(CALLBACK_STATE)
        if saved is None:
            if self._has_trained:
                self.begin_anew()
            # Bypasses Keras' attribute tracking, which would add it to the model's
            # metrics.
            object.__setattr__(model, CALLBACK_STATE, _Saved(self.state))
        else:
            self.state = saved.state
        self._saved().owner = self
        self._has_trained = True

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        require_approximated_layers(self.model)
        if self._saved().owner is not self:
            raise ValueError(
                f"fit of model {self.model.name!r} has more than one "
                "SwitchToFullOnPlateau callback, but it can end its schedule once: "
                "pass one."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Weights, and the state with them, may have been restored since training began.
        self._keep_to_criterion()
        if self._follow_state() and self.verbose:
            print(
                "\nSwitchToFullOnPlateau: this model has switched before, at step "
                f"{int(self.state.full_from)}. All filter gradients stay full."
            )

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._trace_check.end_batch(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._trace_check.end_epoch(self.model)
        logs, state = logs or {}, self.state
        if state.is_full:
            return
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"SwitchToFullOnPlateau is conditioned on metric `{self.monitor}`, "
                f"which is not available. Available metrics are: {','.join(logs)}.",
                stacklevel=2,
            )
            return
        best = float(state.best)
        gain = best - current if self.mode == "min" else current - best
        if math.isnan(best) or gain > self.min_delta:
            state.best.assign(current)
            state.wait.assign(0)
            return
        state.wait.assign_add(1)
        if int(state.wait) < self.patience:
            return
        step = current_step(self.model)
        state.full_from.assign(step)
        self._follow_state()
        if self.verbose:
            share = share_approximated(self._policies(), step)
            print(
                f"\nEpoch {epoch + 1}: SwitchToFullOnPlateau: {self.monitor} has not "
                f"improved on {best:.5g} for {self.patience} epochs. All filter "
                f"gradients are full from step {step} on; up to there {share:.0%} were "
                "approximated."
            )

    def _policies(self) -> list[Any]:
        return [x.gradient_policy for x in require_approximated_layers(self.model)]

    def _saved(self) -> _Saved:
        saved: _Saved = vars(self.model)[CALLBACK_STATE]
        return saved

    def _keep_to_criterion(self) -> None:
        """Resets the best value if it is of another metric or mode."""
        state = self.state
        criterion = zlib.crc32(f"{self.mode} {self.monitor}".encode())
        if int(state.criterion) != criterion:
            state.criterion.assign(criterion)
            state.best.assign(math.nan)
            state.wait.assign(0)

    def _follow_state(self) -> bool:
        """Applies the state to the layers; returns whether that changes them."""
        if not self.state.is_full:
            return False
        # A new optimizer counts from 0.
        step = min(int(self.state.full_from), current_step(self.model))
        if not _end_schedules(self.model, step):
            return False
        # The new schedules may need the step where the former didn't.
        bind_step(self.model, self.model.optimizer)
        self.model.make_train_function(force=True)
        self._trace_check.start(self.model, warns=False)
        return True


class PlateauState(tf.Module):
    """The state of `SwitchToFullOnPlateau`, in variables for checkpoints.

    Attributes:
        best: Best value so far; NaN before the first.
        wait: Number of epochs since the best value.
        criterion: Hash of the monitored quantity and the mode; -1 before the first
            epoch.
        full_from: First step of exact gradients; -1 before the switch.
    """

    def __init__(self) -> None:
        super().__init__()
        with tf.device("CPU"):
            self.best = tf.Variable(math.nan, dtype=tf.float64)
            self.wait = tf.Variable(0, dtype=tf.int64)
            self.criterion = tf.Variable(-1, dtype=tf.int64)
            self.full_from = tf.Variable(-1, dtype=tf.int64)

    @property
    def is_full(self) -> bool:
        return int(self.full_from) >= 0


class _Saved(keras.metrics.Metric):
    """Saves the state in the weights files of the model that holds this object.

    Keras saves metrics with a model, but doesn't count them among its weights.
    """

    def __init__(self, state: PlateauState) -> None:
        super().__init__(name=CALLBACK_STATE)
        self.state = state
        # The callback in the latest call of `fit`.
        self.owner: SwitchToFullOnPlateau | None = None

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("this metric only keeps a state")

    def result(self) -> Any:
        return keras.ops.convert_to_tensor(self.state.full_from)

    def save_own_variables(self, store: Any) -> None:
        for variable, name in zip(
            self.state.variables, _names(self.state), strict=True
        ):
            store[name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        # Weights files of other models have no such entries.
        for variable, name in zip(
            self.state.variables, _names(self.state), strict=True
        ):
            if name in store:
                variable.assign(np.asarray(store[name]))


def _names(state: PlateauState) -> list[str]:
    # tf.Module sorts its variables by attribute name.
    return sorted(name for name, v in vars(state).items() if isinstance(v, tf.Variable))


def _end_schedules(model: keras.Model, step: int) -> bool:
    """Makes the layers full from a step on; returns whether that changes them."""
    policies = [x.gradient_policy for x in require_approximated_layers(model)]
    if all(policy.schedule is None for policy in policies):
        # One schedule for all layers, with a row for each layer index.
        methods = [
            layer.method if isinstance(layer, ApproximateLayer) else FullGradient()
            for layer in convertible_layers(model)
        ]
        table = TableSchedule([[method] for method in methods])
        assign_schedule(model, _until(table, step))
        return True
    ongoing = [x for x in policies if not _is_ended(x.schedule, step)]
    if not any(policy.approximates() for policy in ongoing):
        return False
    # Including layers that are always exact, as all layers must have the same schedule.
    for policy in ongoing:
        schedule = policy.schedule or Constant(policy.method)
        # The index stays, as parts of the model may have been converted separately.
        policy.schedule = _until(schedule, step)
    return True


def _is_ended(schedule: Schedule | None, step: int) -> bool:
    return isinstance(schedule, Until) and schedule.end <= step


def _until(schedule: Schedule, step: int) -> Schedule:
    return Until(schedule, step) if step else Constant(FullGradient())


def _infer_mode(monitor: str) -> str:
    name = str(monitor).lower()
    if any(part in name for part in _SMALLER_IS_BETTER):
        return "min"
    if any(part in name for part in _LARGER_IS_BETTER):
        return "max"
    raise ValueError(
        f"monitor={monitor!r} doesn't say whether it should grow or fall: pass "
        "mode='max' or mode='min'."
    )
