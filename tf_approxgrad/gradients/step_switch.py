"""Selection of a method by the training step, in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_approxgrad.gradients import op_library
from tf_approxgrad.gradients.inputs import GradientFunction, GradientInputs
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.schedules import Schedule, periods


def switch_by_step(
    rows: Sequence[GradientMethod],
    schedule: Schedule,
    inputs: GradientInputs,
    compute: GradientFunction,
) -> tf.Tensor:
    """Computes a gradient by the method of the step; no other method runs.

    Args:
        rows: The layer's methods, as from `Schedule.rows`.
        schedule: The schedule of those rows.
        inputs: Inputs of the gradient, with the step, and the replica if the schedule
            differs by replica.
        compute: Computes the gradient by one method.

    Returns:
        The gradient.
    """
    methods = list(dict.fromkeys(rows))
    branches = tf.constant([methods.index(method) for method in rows], tf.int32)
    index = column_at(schedule, inputs)
    if schedule.replicas > 1:
        replica = tf.cast(inputs.replica, tf.int64) % schedule.replicas
        index += replica * (len(rows) // schedule.replicas)
    return tf.switch_case(
        tf.gather(branches, index),
        [branch_function(compute, method, inputs) for method in methods],
    )


def column_at(schedule: Schedule, inputs: GradientInputs) -> tf.Tensor:
    """`Schedule.column` of the step of a gradient's inputs, an int64 scalar."""
    assert inputs.step is not None
    return _column(periods.segments_of(schedule), tf.cast(inputs.step, tf.int64))


def _column(pieces: tuple[periods.Segment, ...], step: tf.Tensor) -> tf.Tensor:
    """`Schedule.column` in the graph, exact at every int64 step."""
    if len(pieces) == 1:
        return step % pieces[0].period
    sizes = periods.columns(pieces)
    table = tf.constant(
        [(*piece, sum(sizes[:number])) for number, piece in enumerate(pieces)],
        tf.int64,
    )
    number = tf.math.count_nonzero(step >= table[1:, 0], dtype=tf.int32)
    begin, period, offset = tf.unstack(tf.gather(table, number))
    return offset + (step - begin) % period


def branch_function(
    compute: GradientFunction, method: GradientMethod, inputs: GradientInputs
) -> Callable[[], tf.Tensor]:
    """A branch of a switch, which computes a gradient by a method."""
    if xla.is_compiling():  # XLA orders updates after reads of the old value.
        return lambda: compute(method, inputs)
    # A branch that doesn't read out_backprop could run before the forward pass, whose
    # filters would then be updated too early: see cc/ops/await_ops.cc.
    return lambda: op_library.approx_await_backprop(
        gradient=compute(method, inputs), out_backprop=inputs.out_backprop
    )
