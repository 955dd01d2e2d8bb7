"""What one layer was told: its schedule, its index and where to read the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_approxgrad import ops
from tf_approxgrad.filter_gradient import Backprop, StepReader, filter_gradient
from tf_approxgrad.methods import FullGradient, GradientMethod
from tf_approxgrad.schedules import Schedule


@dataclasses.dataclass(eq=False)
class Assignment:
    """How a layer picks its method at each step.

    A plain object, so that neither Keras nor TensorFlow tracks the step counter as
    a weight of the layer.

    Attributes:
      layer_name: For messages.
      method: The method at every step while there is no schedule.
      schedule: Picks the method by (layer index, step).
      index: The layer's index in its model, from 1; 0 until it is known.
      step: Reads the training step; `None` until it is bound.
      count: How many layers of the model were converted together; 0 if unknown.
    """

    layer_name: str
    method: GradientMethod
    schedule: Schedule | None = None
    index: int = 0
    step: StepReader | None = None
    count: int = 0

    def row(self) -> tuple[GradientMethod, ...]:
        """The methods of the steps up to where the schedule repeats."""
        if self.schedule is None:
            return (self.method,)
        return self.schedule.row(self.index)

    def is_exact(self) -> bool:
        """Whether nothing is ever approximated."""
        return all(isinstance(method, FullGradient) for method in self.row())

    def needs_step(self) -> bool:
        """Whether the gradient depends on the step."""
        row = self.row()
        return len(set(row)) > 1 or any(method.needs_step for method in row)

    def filter_gradient(
        self,
        backprop: Backprop,
        compute: Callable[[GradientMethod, Backprop], tf.Tensor] = filter_gradient,
    ) -> tf.Tensor:
        """Computes the filter gradient by the method of the current step.

        A row that never changes is computed directly. Otherwise the step picks one
        branch of a `tf.switch_case`, and only that branch runs.

        Args:
          backprop: What to compute it from.
          compute: Computes it by one method, for layers whose filter gradient has to
            be brought into the form of a two-dimensional convolution's.

        Raises:
          RuntimeError: If the step is needed and not bound.
        """
        row = self.row()
        if self.step is None and self.needs_step():
            raise RuntimeError(
                f"layer {self.layer_name!r} follows {self.schedule or self.method!r}, "
                "which depends on the training step, and nothing tells it the step: "
                "pass callbacks=[tf_approxgrad.ApproximationCallback()] to fit, or "
                "call tf_approxgrad.bind_step(model, optimizer.iterations) before "
                "the training step is traced."
            )
        backprop = dataclasses.replace(backprop, layer=self.index, step=self.step)
        methods = list(dict.fromkeys(row))
        if len(methods) == 1:
            return compute(methods[0], backprop)
        return tf.switch_case(
            self._branch([methods.index(method) for method in row]),
            [_branch_function(compute, method, backprop) for method in methods],
        )

    def _branch(self, branches: list[int]) -> tf.Tensor:
        """Looks up the branch of the current step in those of the row."""
        assert self.schedule is not None and self.step is not None
        step = tf.cast(self.step(), tf.int64)
        prefix, period = self.schedule.prefix, self.schedule.period
        index = tf.where(step < prefix, step, prefix + (step - prefix) % period)
        return tf.gather(tf.constant(branches, tf.int32), index)


def _branch_function(
    compute: Callable[[GradientMethod, Backprop], tf.Tensor],
    method: GradientMethod,
    backprop: Backprop,
) -> Any:
    # A branch that doesn't read out_backprop would be done before the forward pass,
    # and could update the filters under it: see cc/ops/approx_await_backprop_op.cc.
    return lambda: ops.approx_await_backprop(
        gradient=compute(method, backprop), out_backprop=backprop.out_backprop
    )
