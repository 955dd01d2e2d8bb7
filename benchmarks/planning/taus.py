"""tau of given settings: the extra variance of all their layers, at a moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import keras

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.planning.meter import VarianceMeter
from tf_approxgrad.planning.minibatches import Minibatch
from tf_approxgrad.planning.plan_maker import MINIBATCHES_OF_EXTRA
from tf_approxgrad.planning.variances import Variances


@dataclasses.dataclass(frozen=True)
class Tau:
    """tau of a setting at a moment of training. With bias, its square is in it.

    Attributes:
        tau: The mean of the layers' own, by their numbers of weights, as for Adam.
        tau_of_sums: That of the sums over all weights, as for SGD.
        noise_batch: Batch at which the gradient's noise equals its signal; 0 if the
            signal can't be told from the noise.
    """

    tau: float
    tau_of_sums: float
    noise_batch: float


def measure_taus(
    model: keras.Model,
    minibatches: Sequence[Minibatch],
    schedules: Mapping[str, tfag.Schedule],
) -> dict[str, Tau]:
    """Measures each schedule's tau on a model as it is, which stays so.

    Args:
        model: A compiled model.
        minibatches: Minibatches of equal size, of which the extra variances need fewer.
        schedules: The schedules, by the settings' names.

    Returns:
        By name, the mean over a period of the schedule.
    """
    layers = dict(enumerate(convertible_layers(model), start=1))
    candidates = {index: _approximate(index, schedules.values()) for index in layers}
    meter = VarianceMeter(model, layers, None)
    variances = meter.measure_extra(
        meter.measure_minibatches(minibatches),
        minibatches[:MINIBATCHES_OF_EXTRA],
        candidates,
    )
    return {
        name: Tau(
            _tau(variances, schedule, True),
            _tau(variances, schedule, False),
            variances.noise_batch,
        )
        for name, schedule in schedules.items()
    }


def _approximate(
    index: int, schedules: Iterable[tfag.Schedule]
) -> list[tfag.GradientMethod]:
    """The methods that schedules have for a layer, without exact ones."""
    found = {
        schedule(index, step): None
        for schedule in schedules
        for step in range(schedule.period)
    }
    return [method for method in found if not method.is_exact]


def _tau(variances: Variances, schedule: tfag.Schedule, by_layer: bool) -> float:
    steps = range(schedule.period)
    of_layers = (
        variances.tau(index, schedule(index, step), by_layer)
        for index in variances.layers
        for step in steps
    )
    return sum(of_layers) / len(steps)
