"""`ApproximationCallback`: the schedule in `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from tf_approxgrad.training.model_callback import ModelCallback
from tf_approxgrad.training.trace_check import (
    StepCheck,
    TraceCheck,
    needs_new_trace,
    trained_layers,
)


class ApproximationCallback(ModelCallback):
    """Binds a model's schedule to the optimizer's step for `fit`.

    The step is read from the optimizer in the graph, so resumed training, gradient
    accumulation and `steps_per_execution` follow the schedule.

    `fit` raises if the model doesn't follow the schedule: at its beginning if possible;
    after the first step (with `run_eagerly`, the first epoch) if no layer was called
    with `training=True`, or some were called by a `tf.function` traced under another
    schedule; after the first epoch if the model's optimizer took no step. It warns
    after the first step of layers whose gradients are exact although the schedule
    approximates them.

    Args:
        schedule: A `Schedule` that replaces the model's, or sets one for a model built
            from approximate layers. `None` keeps the model's.
        show_share: Whether to add `share_approximated` to the logs and the progress
            bar: the share of approximated (layer, step) cells so far, of the layers
            that aren't frozen. The step is then read after every batch.

    Raises:
        TypeError: If `schedule` isn't a schedule.

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
        # Without a share to show, Keras needn't wait for each batch.
        self.async_safe = not show_share

    def begin_anew(self) -> None:
        self._trace_check = TraceCheck()
        self._step_check = StepCheck()

    def prepare_layers(self, layers: Sequence[ApproximateLayer]) -> None:
        """Prepares the model's converted layers, before anything is checked.

        Args:
            layers: The layers. They leave an `AdaptivePlan` that they followed.
        """
        for layer in layers:
            layer.gradient_policy.choice = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        layers = require_approximated_layers(self.model)
        self.prepare_layers(layers)
        approximates = self.schedule is not None or any(
            layer.gradient_policy.approximates() for layer in layers
        )
        reason = why_fit_is_exact(self.model)
        if reason is not None and approximates:
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
        self._trace_check.start(self.model)
        self._step_check.start(self.model)
        if self.params.get("verbose"):
            print(self.describe(layers))

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._trace_check.end_batch(self.model)
        self._add_share(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._trace_check.end_epoch(self.model)
        self._step_check.end_epoch(self.model)
        self._add_share(logs)

    def describe(self, layers: Sequence[ApproximateLayer]) -> str:
        """What `fit` prints before the first epoch.

        Args:
            layers: The model's converted layers, which follow one schedule.
        """
        schedule = layers[0].gradient_policy.schedule
        count = len(layers)
        if not any(layer.gradient_policy.approximates() for layer in layers):
            return f"Exact gradients in {count} convolutions."
        if schedule is None:
            lines = [f"Approximate filter gradients in {count} convolutions."]
        else:
            lines = [
                f"Approximate filter gradients: {schedule!r}, "
                f"{schedule.fraction(count):.0%} of the (layer, step) cells of {count} "
                "convolutions in the long run."
            ]
        approximated = [x for x in layers if x.gradient_policy.makes_input_gradient()]
        if approximated:
            methods = dict.fromkeys(
                repr(layer.input_gradient) for layer in approximated
            )
            lines.append(
                f"There the input gradients of {len(approximated)} of them are "
                f"computed by {', '.join(methods)}."
            )
        return "\n".join(lines)

    def _add_share(self, logs: dict[str, Any] | None) -> None:
        # The progress bar is the last callback and shows the other callbacks' logs.
        if self.show_share and logs is not None:
            layers = trained_layers(self.model)
            logs["share_approximated"] = share_approximated(
                [layer.gradient_policy for layer in layers],
                current_step(self.model),
            )

    def _check_xla(self, layers: Sequence[ApproximateLayer]) -> None:
        """Trains without XLA if methods set after `compile` don't support it."""
        unsupported = [
            x for x in layers if x.gradient_policy.method_without_xla() is not None
        ]
        if not self.model.jit_compile or not unsupported:
            return
        warn_of_no_xla(unsupported[0], f"model {self.model.name!r}")
        self.model.jit_compile = False
        self.model.make_train_function(force=True)
