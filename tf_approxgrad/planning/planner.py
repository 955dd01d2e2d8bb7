"""`plan`: the choice of methods by measurement, on a user's own model and data."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import rich.progress
import tensorflow as tf

from tf_approxgrad.conversion.report import conversion_report
from tf_approxgrad.conversion.traversal import check_model, convertible_layers
from tf_approxgrad.measure.backward_pass import loss_function, preserved_state
from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    MethodLike,
    are_full,
)
from tf_approxgrad.planning.alternatives import alternative_steps
from tf_approxgrad.planning.candidates import (
    faster_methods,
    layer_candidates,
    parse_candidates,
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
from tf_approxgrad.planning.minibatches import Minibatch, read_minibatches, size_of
from tf_approxgrad.planning.plan import Plan
from tf_approxgrad.planning.timings import LayerTimes, time_layer
from tf_approxgrad.planning.training_step import (
    Step,
    is_compiled_by_xla,
    preserved_random_state,
    training_step,
)
from tf_approxgrad.planning.variances import Variances, normalises
from tf_approxgrad.utils.checks import check_finite
from tf_approxgrad.utils.machine import machine_name
from tf_approxgrad.utils.timing import time_in_turns

# Extra variances differ less between minibatches than gradients do.
_MINIBATCHES, _MINIBATCHES_OF_EXTRA = 8, 3
# The least share of a step that a method must save in a layer.
_LEAST_SAVED = 1e-3
# Rounds in which the whole steps take turns.
_ROUNDS = 5
_POINTS_OF_CURVE = 60


def plan(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    loss: Any = None,
    sample_weight: Any = None,
    max_extra_variance: float = 0.05,
    methods: MethodLike | Iterable[MethodLike] | None = None,
    verbose: bool = True,
) -> Plan:
    """Chooses a gradient method for each layer by measurement on your model and data.

    For each convolution it measures the times of its gradients, by TensorFlow's ops, by
    the fastest exact kernels and by sampled methods, and how much variance the sampled
    ones add to that of the minibatch. It chooses the methods of least time to the same
    loss, T * (1 + tau), and then times whole steps in turns: with the plan, of plain
    Keras, and of what you could do instead. Where nothing gains 3%, the plan is plain
    Keras, and says why.

    tau is the sum of the extra variances over that of the minibatch variances, from 8
    minibatches. With SGD the sums are over all weights; with other optimizers, which
    normalise gradients, tau is the mean of the layers' own ratios by their numbers of
    weights.

    The model may be plain or converted, compiled or not. Afterwards it is as before:
    weights, optimizer, statistics of normalisation, metrics, seed generators and
    conversion, and so are the random states of Python and NumPy. Steps are timed with
    copies of the weights and of the optimizer. A model with its own `train_step` is
    planned for the gradients of its `compute_loss`.

    Gradients become more concentrated in training: a plan made before the first step is
    for the first epochs. `AdaptivePlan` measures again.

    Args:
        model: A built Keras model with at least one convertible convolution.
        x: Inputs: an array, or a list or dict of arrays, from which minibatches are
            drawn at random; or a `tf.data.Dataset`, a `keras.utils.PyDataset` or a
            generator of batches `(x, y)` or `(x, y, sample_weight)`, of which the first
            8 are used. A generator loses them.
        y: Targets, likewise; `None` with batches.
        batch_size: Examples of a minibatch. `None` means 32, or that of the batches.
        loss: A loss, as for `compile`. `None` means the loss of the compiled model.
        sample_weight: Weights of the examples, as for `fit`.
        max_extra_variance: Bound of tau, at least 0. 0 means exact gradients.
        methods: Methods to choose from, besides the exact ones: a method or its name,
            or a list of these. `None` means `TileSampledGradient`, and
            `RowSampledGradient` with `keep_largest` by both probabilities, at six
            shares from 3/4 to 1/8. The bias of
            biased methods counts as variance, which it isn't: it doesn't average out.
        verbose: Whether to show a progress bar.

    Returns:
        A `Plan`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model isn't built, isn't compiled while `loss` is None, or
            has no convertible convolution; if the data hold fewer than two minibatches,
            don't fit the model or its loss, or give gradients that aren't finite; or if
            an argument isn't allowed.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(8, 8, 1))
    >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    >>> x, y = np.random.normal(size=(64, 8, 8, 1)), np.arange(64) % 10
    >>> plan = tfag.plan(model, x, y, batch_size=16, verbose=False)
    >>> model = tfag.approximate_gradients(model, plan)
    >>> history = model.fit(
    ...     x, y, 16, callbacks=[tfag.ApproximationCallback()], verbose=0
    ... )
    """
    check_model(model)
    bound = check_finite(
        "max_extra_variance", max_extra_variance, "a number of at least 0", low=0
    )
    candidates = parse_candidates(methods)
    compute_loss = loss_function(model, loss)
    convertible = dict(enumerate(convertible_layers(model), start=1))
    if not convertible:
        raise ValueError(
            f"model {model.name!r} has no convolution that can be approximated.\n"
            f"{conversion_report(model)}"
        )
    minibatches = read_minibatches(x, y, sample_weight, batch_size, _MINIBATCHES)
    with (
        preserved_random_state(),
        preserved_state(model),
        rich.progress.Progress(disable=not verbose, transient=True) as bar,
    ):
        planner = _Planner(model, convertible, compute_loss, minibatches, bar)
        return planner.plan([] if bound == 0 else candidates, bound)


class _Planner:
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
        full = self._traced(None)
        full_ms = 1e3 * statistics.median(
            time_in_turns({FULL: lambda: full(self._batch)}, 3)[FULL]
        )
        variances, times = self._measure(candidates, full_ms)
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
        steps = {FULL: full}
        if full_ms >= LEAST_GAIN * best.cost:
            if not are_full(candidate.method for candidate in exact.candidates):
                steps[EXACT] = self._traced(self._methods(times, exact))
            if best is not exact:
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

    def _measure(
        self, candidates: Sequence[GradientMethod], full_ms: float
    ) -> tuple[Variances, dict[int, LayerTimes]]:
        """Variances of the layers that are trained, and times of their gradients."""
        model = self._model
        trained = {i: x for i, x in self._layers.items() if x.trainable_weights}
        meter = VarianceMeter(model, trained, self._compute_loss)
        with _explained(model):
            variances = meter.measure_minibatches(
                self._bar.track(self._minibatches, description="Minibatch variances")
            )
        by_geometry = {}
        for key in self._bar.track(list(meter.calls), description="Times of layers"):
            # Its tensors are needed no longer.
            geometry = meter.calls.pop(key)
            by_geometry[key] = time_layer(
                geometry.recorded(of_input=False),
                geometry.recorded(of_input=True),
                [FullGradient(), ExactGradient()],
                candidates,
                is_compiled_by_xla(model),
            )
        times = {i: by_geometry[key] for i, key in meter.geometries.items()}
        task = self._bar.add_task("Extra variances", total=None)
        variances = meter.measure_extra(
            variances,
            self._minibatches[:_MINIBATCHES_OF_EXTRA],
            {i: faster_methods(x, _LEAST_SAVED * full_ms) for i, x in times.items()},
        )
        self._bar.remove_task(task)
        return variances, times

    def _methods(
        self, measured: Iterable[int], choice: Choice
    ) -> dict[int, GradientMethod]:
        methods: dict[int, GradientMethod] = dict.fromkeys(
            self._layers, ExactGradient()
        )
        for index, candidate in zip(measured, choice.candidates, strict=True):
            methods[index] = candidate.method
        return methods

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
        calls: dict[str, Callable[[], object]] = {
            name: functools.partial(step, self._batch) for name, step in steps.items()
        }
        task = self._bar.add_task("Whole steps", total=None)
        seconds = time_in_turns(calls | others, _ROUNDS)
        self._bar.remove_task(task)
        gains = {
            name: statistics.median(
                full / other for full, other in zip(seconds[FULL], taken, strict=True)
            )
            for name, taken in seconds.items()
        }
        return gains, reasons

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


@contextlib.contextmanager
def _explained(model: keras.Model) -> Iterator[None]:
    """Says of errors of the first training step that the data may not fit."""
    try:
        yield
    except (TypeError, tf.errors.OpError) as error:
        message = error.message if isinstance(error, tf.errors.OpError) else error
        raise ValueError(
            f"x, y and loss must fit model {model.name!r}, but a training step failed: "
            f"{message}"
        ) from error
