"""`ApproximationCallback`, which drives the schedule in `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tf_approxgrad.conversion.step_binding import (
    assign_schedule,
    bind_step,
    current_step,
    require_approximated_layers,
)
from tf_approxgrad.conversion.traversal import why_fit_is_exact
from tf_approxgrad.layers.base import ApproximateLayer, warn_of_no_xla
from tf_approxgrad.layers.policy import share_approximated
from tf_approxgrad.schedules import Schedule
from tf_approxgrad.training.trace_check import StepCheck, TraceCheck, needs_new_trace


class ApproximationCallback(keras.callbacks.Callback):
    """Binds a model's schedule to the optimizer's step for `fit`.

    The step is read in the graph, from the optimizer, so that resumed training,
    gradient accumulation and `steps_per_execution` follow the schedule.

    `fit` raises where the model can't follow the schedule: at once if that shows before
    training; after the first step, or with `run_eagerly` the first epoch, if the layers
    weren't called with `training=True`, or by a `tf.function` that keeps what it traced
    under an older schedule; after the first epoch if it is other optimizers that train
    the model.

    Args:
        schedule: Replaces the schedule that the model was converted with, or sets one
            for a model built from `ApproxConv2D` and its like. `None` keeps what is
            there.
        show_share: Whether the progress bar and the logs have the share of the cells so
            far that were approximated, as `share_approximated`. The step is then read
            after every batch.

    Example:

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    >>> callback = tfag.ApproximationCallback()
    """

    def __init__(
        self, schedule: Schedule | None = None, show_share: bool = False
    ) -> None:
        super().__init__()
        if schedule is not None and not isinstance(schedule, Schedule):
            raise TypeError(
                f"schedule={schedule!r} must be a tf_approxgrad.Schedule or None."
            )
        self.schedule = schedule
        self.show_share = show_share
        self._trace_check = TraceCheck()
        self._step_check = StepCheck()
        # Keras needn't wait for each batch if nothing is to be shown.
        self.async_safe = not show_share

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        layers = require_approximated_layers(self.model)
        reason = why_fit_is_exact(self.model)
        if reason is not None:
            raise ValueError(reason)
        if self.schedule is not None:
            assign_schedule(self.model, self.schedule)
        schedules = {layer.gradient_policy.schedule for layer in layers}
        if len(schedules) > 1:
            raise ValueError(
                f"the layers of model {self.model.name!r} follow different schedules, "
                f"{sorted(map(str, schedules))}: convert it again, or pass "
                "ApproximationCallback(schedule) to set one."
            )
        self._check_xla(layers)
        bind_step(self.model, self.model.optimizer)
        if needs_new_trace(self.model):
            self.model.make_train_function(force=True)
        self._trace_check.start()
        self._step_check.start(self.model)
        if self.params.get("verbose"):
            print(_report(schedules.pop(), layers))

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._trace_check.end_batch(self.model)
        self._add_share(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._trace_check.end_epoch(self.model)
        self._step_check.end_epoch(self.model)
        self._add_share(logs)

    def _add_share(self, logs: dict[str, Any] | None) -> None:
        # The progress bar comes last and shows what callbacks put into the logs.
        if self.show_share and logs is not None:
            layers = require_approximated_layers(self.model)
            logs["share_approximated"] = share_approximated(
                [layer.gradient_policy for layer in layers],
                current_step(self.model),
            )

    def _check_xla(self, layers: Sequence[ApproximateLayer]) -> None:
        """Trains without XLA where a method came after the model was compiled."""
        kept = [x for x in layers if x.gradient_policy.method_without_xla() is not None]
        if not self.model.jit_compile or not kept:
            return
        warn_of_no_xla(kept[0], f"model {self.model.name!r}")
        self.model.jit_compile = False
        self.model.make_train_function(force=True)


def _report(schedule: Schedule | None, layers: Sequence[ApproximateLayer]) -> str:
    count = len(layers)
    if schedule is None:
        lines = [f"Approximate filter gradients in {count} convolutions."]
    else:
        lines = [
            f"Approximate filter gradients: {schedule!r}, "
            f"{schedule.fraction(count):.0%} of the (layer, step) cells of {count} "
            "convolutions in the long run."
        ]
    made = [x for x in layers if x.gradient_policy.makes_input_gradient()]
    if made:
        methods = dict.fromkeys(repr(layer.input_gradient) for layer in made)
        lines.append(
            f"There the input gradients of {len(made)} of them are approximated, too: "
            f"{', '.join(methods)}."
        )
    return "\n".join(lines)
