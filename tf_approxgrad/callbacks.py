"""`ApproximationCallback`, which drives the schedule in `fit`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.binding import (
    assign_schedule,
    require_approximated_layers,
    set_step_reader,
)
from tf_approxgrad.model_layers import why_fit_is_exact
from tf_approxgrad.schedules import Schedule


class ApproximationCallback(keras.callbacks.Callback):
    """Binds a model's schedule to the optimizer's step for `fit`.

    The step is read in the graph, from the optimizer, so that resumed training,
    gradient accumulation and `steps_per_execution` follow the schedule.

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    >>> callback = tfag.ApproximationCallback()

    Args:
      schedule: Replaces the schedule that the model was converted with, or sets one
        for a model built from `ApproxConv2D` layers. `None` keeps what is there.
    """

    def __init__(self, schedule: Schedule | None = None) -> None:
        super().__init__()
        if schedule is not None and not isinstance(schedule, Schedule):
            raise TypeError(
                f"schedule={schedule!r} must be a tf_approxgrad.Schedule or None."
            )
        self.schedule = schedule

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        layers = require_approximated_layers(self.model)
        reason = why_fit_is_exact(self.model)
        if reason is not None:
            raise ValueError(reason)
        if self.model.jit_compile:
            raise ValueError(
                f"model {self.model.name!r} is compiled with jit_compile=True, but XLA "
                "has no kernel of tf_approxgrad's op: compile it with "
                "jit_compile=False."
            )
        before = [(x.assignment.schedule, x.assignment.index) for x in layers]
        if self.schedule is not None:
            assign_schedule(self.model, self.schedule)
        schedules = {layer.assignment.schedule for layer in layers}
        if len(schedules) > 1:
            raise ValueError(
                f"the layers of model {self.model.name!r} follow different schedules, "
                f"{sorted(map(str, schedules))}: convert it again, or pass "
                "ApproximationCallback(schedule) to set one."
            )
        optimizer = self.model.optimizer
        set_step_reader(self.model, lambda: tf.convert_to_tensor(optimizer.iterations))
        if before != [(x.assignment.schedule, x.assignment.index) for x in layers]:
            # What was traced under the old schedule holds its branches.
            self.model.make_train_function(force=True)
        if self.params.get("verbose"):
            print(self._report(schedules.pop(), len(layers)))

    def _report(self, schedule: Schedule | None, count: int) -> str:
        if schedule is None:
            return f"Approximate filter gradients in {count} convolutions."
        return (
            f"Approximate filter gradients: {schedule!r}, "
            f"{schedule.fraction(count):.0%} of the (layer, step) cells of {count} "
            "convolutions."
        )
