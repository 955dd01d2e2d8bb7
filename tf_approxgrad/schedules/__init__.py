"""Schedules: which method a layer uses at which step.

A schedule is a pure function of the layer's index (from 1, in the model's order) and
the training step (from 0).
"""

from tf_approxgrad.schedules.base import Schedule
from tf_approxgrad.schedules.basic import (
    Alternate,
    EveryNthLayer,
    EveryNthStep,
    TableSchedule,
)
from tf_approxgrad.schedules.composed import Combined, Piecewise, Until, Warmup
from tf_approxgrad.schedules.constant import Constant
from tf_approxgrad.schedules.periods import segments_of
from tf_approxgrad.schedules.ramp import Ramp
from tf_approxgrad.schedules.staggered import Staggered

__all__ = [
    "Alternate",
    "Combined",
    "Constant",
    "EveryNthLayer",
    "EveryNthStep",
    "Piecewise",
    "Ramp",
    "Schedule",
    "Staggered",
    "TableSchedule",
    "Until",
    "Warmup",
    "segments_of",
]
