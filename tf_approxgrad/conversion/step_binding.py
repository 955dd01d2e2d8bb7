"""Ties schedule, step counter and layers of a model together."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.conversion.traversal import (
    approximated_layers,
    check_model,
    convertible_layers,
    is_approximated,
)
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.schedules import Schedule


def bind_step(model: keras.Model, step: Any) -> None:
    """Tells the converted layers of `model` where to read the training step.

    For training without `fit`: call it once, before the training step is traced.
    The counter is read inside the graph at every backward pass.

    Args:
        model: A model with converted layers. The call that is differentiated must be
            `model(x, training=True)`.
        step: The step counter, from 0: a scalar integer variable such as
            `optimizer.iterations`; or the optimizer itself, which is needed where it
            accumulates gradients, because it then has no variable of its steps. If it
            is the optimizer that the model was compiled with, and the model is compiled
            again, with another, the layers refuse to train until they are told anew.

    Raises:
        TypeError: If `model` isn't a model.
        ValueError: If the model has no converted layer, or `step` is neither.

    Example:

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    >>> optimizer = keras.optimizers.Adam()
    >>> tfag.bind_step(model, optimizer.iterations)
    """
    check_model(model, built=False)
    if not isinstance(step, keras.optimizers.Optimizer):
        _check_counter(step)
    require_approximated_layers(model)
    read_step = _StepReader(step, model)
    policies = []
    for index, layer in _indexed_layers(model):
        layer.gradient_policy.step = read_step
        layer.gradient_policy.index = layer.gradient_policy.index or index
        policies.append(layer.gradient_policy)
    # Random numbers go by the index, so that two layers of the same seed draw different
    # ones. In a model of several converted ones layers may share an index: the first
    # draws by it, each other by the next number that is no index.
    indices, drawn = {policy.index for policy in policies}, set()
    free = (number for number in itertools.count(1) if number not in indices)
    for policy in policies:
        taken = policy.index in drawn
        policy.stream = next(free) if taken else policy.index
        drawn.add(policy.index)


def assign_schedule(
    model: keras.Model,
    schedule: Schedule,
    rows: Mapping[int, tuple[GradientMethod, ...]] | None = None,
) -> None:
    """Checks that `schedule` fits the model, and sets it on the converted layers.

    Args:
        model: A model with converted layers.
        schedule: The schedule.
        rows: Its rows by layer index, where they have been computed.
    """
    convertible = convertible_layers(model)
    resolved = schedule.resolve(convertible)
    layers = _indexed_layers(model)
    if rows is None:
        # Before anything changes, as a schedule may break the promise of its segments.
        rows = {index: resolved.row(index) for index, _ in layers}
    for index, layer in layers:
        layer.gradient_policy.assign(resolved, index, rows[index])
        layer.gradient_policy.stream = index
        layer.gradient_policy.count = len(convertible)
        layer.gradient_policy.converted = tuple(index for index, _ in layers)


def current_step(model: keras.Model) -> int:
    """The step that the model's optimizer is at; 0 if it has none."""
    optimizer = getattr(model, "optimizer", None)
    return 0 if optimizer is None else int(tf.convert_to_tensor(optimizer.iterations))


def require_approximated_layers(model: keras.Model) -> list[ApproximateLayer]:
    """The model's converted layers in order, at least one."""
    layers = approximated_layers(model)
    if not layers:
        raise ValueError(
            f"model {model.name!r} has no converted layer; convert it with "
            "model = tf_approxgrad.approximate_gradients(model, schedule) first."
        )
    _check_still_converted(model)
    return layers


class _StepReader:
    """Reads the step from a variable or an optimizer; equal if both read the same."""

    def __init__(self, counter: Any, model: keras.Model) -> None:
        self._counter = counter
        # The layers of the model have this: no circle.
        self._model = weakref.ref(model)
        self._was_of_model = False
        self._check_optimizer()

    def __call__(self) -> tf.Tensor:
        self._check_optimizer()
        return tf.convert_to_tensor(_read(self._counter))

    def _check_optimizer(self) -> None:
        """Refuses the steps of an optimizer that the model no longer has.

        They stand still, and the schedule would with them.
        """
        model = self._model()
        optimizer = getattr(model, "optimizer", None)
        if model is None or optimizer is None:
            return
        if _source(optimizer) is _source(self._counter):
            self._was_of_model = True
        elif self._was_of_model:
            raise RuntimeError(
                f"model {model.name!r} was compiled with another optimizer after its "
                "layers were told to read the step of the one before, which stands "
                "still now: pass callbacks=[tf_approxgrad.ApproximationCallback()] to "
                "fit, or call tf_approxgrad.bind_step(model, model.optimizer)."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StepReader) and (
            _source(self._counter) is _source(other._counter)
        )

    def __hash__(self) -> int:
        return id(_source(self._counter))


def _read(counter: Any) -> Any:
    is_optimizer = isinstance(counter, keras.optimizers.Optimizer)
    return counter.iterations if is_optimizer else counter


def _source(counter: Any) -> Any:
    """What tells whether two counters are one: the variable that is read, if any."""
    # An optimizer that accumulates gradients computes its steps afresh.
    value = _read(counter)
    return value if isinstance(value, keras.Variable) else counter


def _indexed_layers(model: keras.Model) -> list[tuple[int, ApproximateLayer]]:
    """The converted layers, with their places among those that could be."""
    layers = enumerate(convertible_layers(model), start=1)
    return [(i, layer) for i, layer in layers if is_approximated(layer)]


def _check_still_converted(model: keras.Model) -> None:
    """Refuses a converted model some of whose convolutions are plain again.

    A layer of a user's own that makes its convolutions itself makes plain ones when it
    is loaded from a file. Those of a model that was made of some of the layers of a
    converted one may be plain because they always were.
    """
    convertible, expected = convertible_layers(model), set()
    for place, layer in _indexed_layers(model):
        # How many come before those of the model that the layer was converted in.
        before = place - layer.gradient_policy.index
        if 0 <= before <= len(convertible) - layer.gradient_policy.count:
            expected |= {before + index for index in layer.gradient_policy.converted}
    plain = [
        layer.name
        for place, layer in enumerate(convertible, start=1)
        if place in expected and not isinstance(layer, ApproximateLayer)
    ]
    if plain:
        raise ValueError(
            f"model {model.name!r} was converted, but its layers {', '.join(plain)} "
            "are plain layers of Keras, as after loading a layer of your own from a "
            "file: convert it again with "
            "tf_approxgrad.approximate_gradients(model, schedule)."
        )


def _check_counter(step: Any) -> None:
    is_variable = isinstance(step, (tf.Variable, keras.Variable))
    if not is_variable or len(step.shape) or "int" not in str(step.dtype):
        raise ValueError(
            f"step={step!r} must be an optimizer, or a scalar integer variable such as "
            "optimizer.iterations: a number that isn't a variable would stay what it "
            "is now. An optimizer that accumulates gradients has no such variable: "
            "pass the optimizer itself."
        )
