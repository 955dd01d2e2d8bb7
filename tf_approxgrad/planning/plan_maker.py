"""Measurement of a model, and the choice of its plan."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import rich.progress
import tensorflow as tf

from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    are_full,
)
from tf_approxgrad.planning.alternatives import alternative_steps
from tf_approxgrad.planning.candidates import (
    faster_methods,
    fastest_exact,
    layer_candidates,
)
from tf_approxgrad.planning.choice import (
    LEAST_GAIN,
    Choice,
    best_choice,
    efficient_choices,
    exact_choice,
)
from tf_approxgrad.planning.explanation import (
    EXACT,
    FULL,
    PLAN,
    explain_layer,
    explain_verdict,
    list_alternatives,
)
from tf_approxgrad.planning.figures import LayerPlan
from tf_approxgrad.planning.meter import VarianceMeter
from tf_approxgrad.planning.minibatches import Minibatch, size_of
from tf_approxgrad.planning.plan import Plan
from tf_approxgrad.planning.timings import LayerTimes, time_layer
from tf_approxgrad.planning.training_step import (
    Step,
    explained,
    is_compiled_by_xla,
    training_step,
)
from tf_approxgrad.planning.variances import normalises
from tf_approxgrad.utils.machine import machine_name
from tf_approxgrad.utils.timing import time_in_turns

# Extra variances differ less between minibatches than gradients do.
MINIBATCHES, MINIBATCHES_OF_EXTRA = 8, 3
# The least share of a step that a method must save in a layer.
_LEAST_SAVED = 1e-3
# The least part of what kernels save by themselves that they count as saving in a step:
# with none, all methods of a layer would be alike.
_LEAST_PART = 0.01
# Rounds in which the whole steps take turns: more where a step takes less than a fifth
# of these seconds.
_ROUNDS, _MOST_ROUNDS, _SECONDS = 5, 25, 2.0
_POINTS_OF_CURVE = 60


class PlanMaker:
    """Measures a model, and chooses.

    Args:
        model: A built model.
        layers: Its convertible layers, by layer index.
        compute_loss: Called like the model's `compute_loss`, which is the default.
        minibatches: Minibatches of the user's data.
        bar: Shows what is done.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Mapping[int, keras.layers.Layer],
        compute_loss: Callable[..., tf.Tensor] | None,
        minibatches: Sequence[Minibatch],
        bar: rich.progress.Progress,
    ) -> None:
        self._model, self._layers = model, layers
        self._compute_loss = compute_loss
        self._minibatches, self._batch = minibatches, minibatches[0]
        self._bar = bar
        self._by_layer = normalises(getattr(model, "optimizer", None))

    def plan(self, candidates: Sequence[GradientMethod], bound: float) -> Plan:
        """Measures, and makes the plan of least time to the same loss."""
        with explained(self._model):
            full = self._traced(None)
            full(self._batch)
        meter = VarianceMeter(self._model, self._layers, self._compute_loss)
        variances = meter.measure_minibatches(
            self._bar.track(self._minibatches, description="Minibatch variances")
        )
        times, full_ms = self._time_layers(meter, candidates, full)
        steps = {FULL: full}
        fastest = {index: fastest_exact(found) for index, found in times.items()}
        saved_ms = sum(
            found.of(FullGradient()) - found.of(fastest[index])
            for index, found in times.items()
        )
        if full_ms >= LEAST_GAIN * (full_ms - saved_ms):
            steps[EXACT] = self._traced(self._for_all(fastest))
            # A kernel by itself can save more than within a step, whose other
            # operations find less of their tensors in the caches.
            gain = self._gains(self._calls(steps))[EXACT]
            part = full_ms * (1 - 1 / gain) / saved_ms
            part = min(max(part, _LEAST_PART), 1.0)
            times = {i: x.saving(part) for i, x in times.items()}
        task = self._bar.add_task("Extra variances", total=None)
        variances = meter.measure_extra(
            variances,
            self._minibatches[:MINIBATCHES_OF_EXTRA],
            {i: faster_methods(x, _LEAST_SAVED * full_ms) for i, x in times.items()},
        )
        self._bar.remove_task(task)
        options = [
            layer_candidates(
                times[index],
                measured.extra,
                functools.partial(variances.tau, index, by_layer=self._by_layer),
            )
            for index, measured in variances.layers.items()
        ]
        of_layers = sum(found.of(FullGradient()) for found in times.values())
        other_ms = full_ms - of_layers
        choices = efficient_choices(other_ms, options, bound)
        exact = exact_choice(other_ms, options)
        best = best_choice(exact, choices, bound)
        if best is not exact and full_ms >= LEAST_GAIN * best.cost:
            if EXACT not in steps and not are_full(fastest.values()):
                steps[EXACT] = self._traced(self._for_all(fastest))
            steps[PLAN] = self._traced(self._methods(times, best))
        gains, reasons = self._compare(steps)
        # In the order of preference: a method that departs further must gain 3% more.
        found = {name: gains[name] / (1 + best.tau * (name == PLAN)) for name in steps}
        taken = FULL
        for name in (EXACT, PLAN):
            if found.get(name, 0.0) >= LEAST_GAIN * found[taken]:
                taken = name
        choice = {EXACT: exact, PLAN: best}.get(taken)
        nets = np.maximum.accumulate([full_ms / x.cost for x in choices])
        return Plan(
            model_name=self._model.name,
            layers=self._layer_plans(times, exact, choice),
            batch_size=size_of(self._batch),
            full_step_ms=full_ms,
            exact_step_ms=exact.step_ms,
            predicted_step_ms=full_ms if choice is None else choice.step_ms,
            speed_up=gains[taken],
            tau=0.0 if choice is None else choice.tau,
            max_extra_variance=bound,
            counts_by_layer=self._by_layer,
            noise_batch=variances.noise_batch,
            curve=_thinned(
                [(x.tau, float(n)) for x, n in zip(choices, nets, strict=True)]
            ),
            alternatives=list_alternatives(
                gains, reasons, size_of(self._batch), taken, full_ms / exact.step_ms
            ),
            machine=machine_name(),
            verdict=explain_verdict(
                taken, gains, found[taken], full_ms, of_layers, best
            ),
        )

    def _time_layers(
        self,
        meter: VarianceMeter,
        candidates: Sequence[GradientMethod],
        full: Step,
    ) -> tuple[dict[int, LayerTimes], float]:
        """Times of the layers' gradients, and that of a plain step, in milliseconds."""

        def step_ms(warm_up: int = 0) -> float:
            calls = {FULL: lambda: full(self._batch)}
            return 1e3 * time_in_turns(calls, 1, warm_up=warm_up)[FULL][0]

        # A machine is now faster, now slower: a plain step stands on both sides of each
        # layer's times, which are those at the median of the steps.
        of_steps = [step_ms(warm_up=2)]
        by_geometry = {}
        for key in self._bar.track(list(meter.calls), description="Times of layers"):
            # Its tensors are needed no longer.
            geometry = meter.calls.pop(key)
            by_geometry[key] = time_layer(
                geometry.recorded(of_input=False),
                geometry.recorded(of_input=True),
                [FullGradient(), ExactGradient()],
                candidates,
                is_compiled_by_xla(self._model),
            )
            of_steps.append(step_ms())
        full_ms = statistics.median(of_steps)
        around = itertools.pairwise(of_steps)
        for (key, found), pair in zip(by_geometry.items(), around, strict=True):
            by_geometry[key] = found.scaled(full_ms / statistics.fmean(pair))
        return {i: by_geometry[key] for i, key in meter.geometries.items()}, full_ms

    def _methods(
        self, measured: Iterable[int], choice: Choice
    ) -> dict[int, GradientMethod]:
        methods = [candidate.method for candidate in choice.candidates]
        return self._for_all(dict(zip(measured, methods, strict=True)))

    def _for_all(
        self, methods: Mapping[int, GradientMethod]
    ) -> dict[int, GradientMethod]:
        """The methods of all layers, exact ones where none is given."""
        return {**dict.fromkeys(self._layers, ExactGradient()), **methods}

    def _traced(self, methods: Mapping[int, GradientMethod] | None) -> Step:
        return training_step(
            self._model, self._layers, methods, self._compute_loss, self._batch
        )

    def _compare(
        self, steps: Mapping[str, Step]
    ) -> tuple[dict[str, float], dict[str, str]]:
        """How many times as fast as full each step is, and why some have no time."""
        others, reasons = alternative_steps(
            self._model, steps[FULL], self._compute_loss, self._batch
        )
        return self._gains(self._calls(steps) | others), reasons

    def _calls(self, steps: Mapping[str, Step]) -> dict[str, Callable[[], object]]:
        return {
            name: functools.partial(step, self._batch) for name, step in steps.items()
        }

    def _gains(self, calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """How many times as fast as full each is."""
        task = self._bar.add_task("Whole steps", total=None)
        seconds = time_in_turns(calls, _ROUNDS, warm_up=1)
        rounds = min(int(_SECONDS / statistics.median(seconds[FULL])), _MOST_ROUNDS)
        if rounds > _ROUNDS:
            others = time_in_turns(calls, rounds - _ROUNDS, warm_up=0)
            seconds = {name: [*seconds[name], *others[name]] for name in calls}
        self._bar.remove_task(task)
        return {
            name: statistics.median(
                full / other for full, other in zip(seconds[FULL], taken, strict=True)
            )
            for name, taken in seconds.items()
        }

    def _layer_plans(
        self,
        times: Mapping[int, LayerTimes],
        exact: Choice,
        taken: Choice | None,
    ) -> tuple[LayerPlan, ...]:
        methods = {} if taken is None else self._methods(times, taken)
        fastest = dict(zip(times, exact.candidates, strict=True))
        used = {} if taken is None else dict(zip(times, taken.candidates, strict=True))
        return tuple(
            explain_layer(
                layer,
                methods.get(index, FullGradient()),
                times.get(index),
                fastest.get(index),
                used.get(index),
            )
            for index, layer in self._layers.items()
        )


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Points at which the net gain rises, at most some of them."""
    rising = [p for n, p in enumerate(points) if n == 0 or p[1] > points[n - 1][1]]
    stride = -(-len(rising) // _POINTS_OF_CURVE)
    kept = rising[::stride]
    return tuple(kept if kept[-1] == rising[-1] else [*kept, rising[-1]])
