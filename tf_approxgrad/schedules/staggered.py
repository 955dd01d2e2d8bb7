"""`Staggered`: a schedule that is shifted from replica to replica."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras

from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.schedules import periods
from tf_approxgrad.schedules.arguments import check_cell, check_mean_over
from tf_approxgrad.schedules.base import Schedule
from tf_approxgrad.schedules.composed import ScheduleLike, as_schedule
from tf_approxgrad.schedules.periods import Segment
from tf_approxgrad.utils.checks import check_integer


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Staggered(Schedule):
    """Shifts a schedule by one step from replica to replica.

    At step s, replica r uses the methods of step s + r. With a schedule that
    approximates a layer at some of its steps, only some replicas approximate it at any
    step. Replicas are those of `tf.distribute`; from number `replicas` on they begin
    again at 0.

    Source: the third axis, (machine, layer, batch), of the paper's future work.

    Args:
        schedule: A schedule, or a method for all layers, that is the same on every
            replica.
        replicas: Number of replicas that differ, an integer >= 1.
        mean_over: `"all"` or `"computed"`. A replica whose method is `zero` contributes
            nothing to the mean of a layer's gradients, which shrinks by that. With
            `"computed"` it is the mean over the other replicas.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Staggered(tfag.Alternate("zero"), replicas=2)
    >>> [[schedule(2, step, replica).label for step in (0, 1)] for replica in (0, 1)]
    [['full', 'zero'], ['zero', 'full']]
    """

    schedule: Schedule
    replicas: int
    mean_over: str

    def __init__(
        self, schedule: ScheduleLike, replicas: int, mean_over: str = "all"
    ) -> None:
        inner = as_schedule("schedule", schedule)
        if inner.replicas > 1:
            raise ValueError(
                f"schedule must be the same on every replica, got {inner!r}, which "
                f"differs on {inner.replicas}"
            )
        self._set(
            schedule=inner,
            replicas=check_integer("replicas", replicas, 1),
            mean_over=check_mean_over(mean_over),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, step = check_cell(layer, step, replica)
        return self.schedule(layer, step + replica % self.replicas)

    @functools.cached_property
    def segments(self) -> tuple[Segment, ...]:
        pieces = periods.segments_of(self.schedule)
        return periods.merge(
            [
                [
                    Segment(begin - shift, period)
                    for begin, period in periods.clip(pieces, shift, None)
                ]
                for shift in range(self.replicas)
            ]
        )

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        return dataclasses.replace(self, schedule=self.schedule.resolve(layers))
