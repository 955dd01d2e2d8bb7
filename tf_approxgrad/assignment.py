"""What one layer was told: its schedule, its index and where to read the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_approxgrad import ops, segments, xla
from tf_approxgrad.comparison import current_comparison
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
    # The row of a schedule and an index: `Schedule.row` compares many steps.
    _cached: tuple[Any, tuple[GradientMethod, ...]] | None = None

    def row(self) -> tuple[GradientMethod, ...]:
        """The methods of the layer, one period of each of the schedule's segments."""
        if self.schedule is None:
            return (self.method,)
        key = (self.schedule, self.index)
        if self._cached is None or self._cached[0] != key:
            self._cached = (key, self.schedule.row(self.index))
        return self._cached[1]

    def is_exact(self) -> bool:
        """Whether nothing is ever approximated."""
        return all(isinstance(method, FullGradient) for method in self.row())

    def needs_step(self) -> bool:
        """Whether the gradient depends on the step."""
        row = self.row()
        return len(set(row)) > 1 or any(method.needs_step for method in row)

    def supports_jit(self) -> bool:
        """Whether XLA can compile every method of the layer."""
        return all(method.supports_jit for method in set(self.row()))

    def method_at(self, step: int) -> GradientMethod:
        """The method at a step."""
        row = self.row()
        return row[0 if self.schedule is None else self.schedule.column(step)]

    def count_approximated(self, steps: int) -> int:
        """At how many of the first `steps` steps the layer isn't full."""
        flags = [not isinstance(method, FullGradient) for method in self.row()]
        if self.schedule is None:
            return steps * flags[0]
        return segments.count(flags, segments.segments_of(self.schedule), steps)

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
        comparison = current_comparison()
        if comparison is not None:
            return comparison.compare(self, backprop, compute)
        if xla.is_compiling() and not self.supports_jit():
            unsupported = [m for m in dict.fromkeys(row) if not m.supports_jit]
            raise RuntimeError(
                f"layer {self.layer_name!r} uses {unsupported[0]!r}, which XLA can't "
                "compile: train without XLA (jit_compile=False). Keras does so by "
                "itself if the model is compiled after its conversion."
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
        index = _column(segments.segments_of(self.schedule), step)
        return tf.gather(tf.constant(branches, tf.int32), index)


def share_approximated(assignments: Sequence[Assignment], steps: int) -> float:
    """The share approximated of the cells of layers at the first `steps` steps."""
    cells = sum(assignment.count_approximated(steps) for assignment in assignments)
    return cells / max(1, len(assignments) * steps)


def _column(pieces: tuple[segments.Segment, ...], step: tf.Tensor) -> tf.Tensor:
    """`Schedule.column` in the graph, exact at every int64 step."""
    if len(pieces) == 1:
        return step % pieces[0].period
    sizes = segments.columns(pieces)
    table = tf.constant(
        [(*piece, sum(sizes[:number])) for number, piece in enumerate(pieces)],
        tf.int64,
    )
    number = tf.math.count_nonzero(step >= table[1:, 0], dtype=tf.int32)
    begin, period, offset = tf.unstack(tf.gather(table, number))
    return offset + (step - begin) % period


def _branch_function(
    compute: Callable[[GradientMethod, Backprop], tf.Tensor],
    method: GradientMethod,
    backprop: Backprop,
) -> Any:
    if xla.is_compiling():  # XLA orders an update after what reads the old value.
        return lambda: compute(method, backprop)
    # A branch that doesn't read out_backprop would be done before the forward pass,
    # and could update the filters under it: see cc/ops/approx_await_backprop_op.cc.
    return lambda: ops.approx_await_backprop(
        gradient=compute(method, backprop), out_backprop=backprop.out_backprop
    )
