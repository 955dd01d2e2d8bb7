"""Binding of a schedule and a step counter to a model's layers."""

from __future__ import annotations

import itertools
import warnings
import weakref
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.conversion.traversal import (
    all_layers,
    approximated_layers,
    check_model,
    convertible_layers,
    has_graph,
    is_approximated,
    sublayers,
)
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.schedules import Schedule


def bind_step(model: keras.Model, step: Any) -> None:
    """Binds a step counter to the converted layers of a model.

    For custom training loops: call it once, before the training step is traced. The
    counter is read in the graph, wherever a layer is called in training.
    `ApproximationCallback` calls it for `fit`.

    Args:
        model: A model with converted layers. The training step must call
            `model(x, training=True)`.
        step: The step counter, from 0: a scalar integer variable such as
            `optimizer.iterations`; or the optimizer itself, required if it accumulates
            gradients, as it then has no variable of its steps. Frozen layers keep the
            counter that they are bound to, such as those of a GAN's discriminator while
            the generator is trained. If the model is compiled
            with this optimizer and later with another, its layers raise in training
            until the step is bound again.

    Raises:
        TypeError: If `model` isn't a Keras model.
        ValueError: If the model has no converted layer, or `step` isn't a step counter.

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
    _warn_of_rebinding(model, read_step)
    for index, layer in _indexed_layers(model):
        step = layer.gradient_policy.step
        is_kept = isinstance(step, _StepReader) and step.is_current(read_step)
        if layer.trainable_weights or not is_kept:
            layer.gradient_policy.step = read_step
        layer.gradient_policy.index = layer.gradient_policy.index or index
        policies.append(layer.gradient_policy)
    # Layers of the same seed draw different random numbers, by their index. In a model
    # composed of several converted models, layers may share an index: the first draws
    # by it, each other by the next unused number.
    indices, drawn = {policy.index for policy in policies}, set()
    free = (number for number in itertools.count(1) if number not in indices)
    for policy in policies:
        taken = policy.index in drawn
        policy.stream = next(free) if taken else policy.index
        drawn.add(policy.index)


def _warn_of_rebinding(model: keras.Model, read_step: _StepReader) -> None:
    """Warns if layers leave the step that was bound to another model."""
    former = {}
    for layer in approximated_layers(model):
        step = layer.gradient_policy.step
        if layer.trainable_weights and isinstance(step, _StepReader):
            owner = step.model_of_another(read_step)
            if owner is not None:
                former[layer.name] = owner
    if former:
        warnings.warn(
            f"layers {', '.join(former)} followed the step that was bound to model "
            f"{', '.join(sorted(set(former.values())))}, and follow that of model "
            f"{model.name!r} now. Where several optimizers train, bind each part to "
            "its own afterwards, tf_approxgrad.bind_step(part, optimizer), or freeze "
            "the parts that this one doesn't train.",
            stacklevel=3,
        )


def assign_schedule(model: keras.Model, schedule: Schedule) -> None:
    """Sets a schedule on a model's converted layers, after checking that it fits.

    Args:
        model: A model with converted layers.
        schedule: The schedule.
    """
    convertible = convertible_layers(model)
    resolved = schedule.resolve(convertible)
    layers = _indexed_layers(model)
    # First, as this raises if the segments don't describe the methods.
    rows = {index: resolved.rows(index) for index, _ in layers}
    for index, layer in layers:
        layer.gradient_policy.assign(resolved, index, rows[index])
        layer.gradient_policy.stream = index
        layer.gradient_policy.count = len(convertible)
        layer.gradient_policy.converted = tuple(index for index, _ in layers)


def current_step(model: keras.Model) -> int:
    """The current step of the model's optimizer; 0 if it has none."""
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
    """Reads the step from a counter; equal if both read the same variable."""

    def __init__(self, counter: Any, model: keras.Model) -> None:
        self._counter = counter
        # Weak, because the model's layers refer to this object.
        self._model = weakref.ref(model)
        self._was_of_model = False
        self._check_optimizer()

    def __call__(self) -> tf.Tensor:
        self._check_optimizer()
        return tf.convert_to_tensor(_read(self._counter))

    @property
    def variable(self) -> tf.Variable:
        counter = self._counter
        if isinstance(counter, keras.optimizers.Optimizer):
            # The first one counts calls, also where gradients accumulate.
            counter = counter.variables[0]
        return counter.value if isinstance(counter, keras.Variable) else counter

    def _check_optimizer(self) -> None:
        """Raises if the model's optimizer was replaced by another.

        The steps of the former one, and so the schedule, would stand still.
        """
        model = self._model()
        optimizer = getattr(model, "optimizer", None)
        if model is None or optimizer is None:
            return
        if _source(optimizer) is _source(self._counter):
            self._was_of_model = True
        elif self._was_of_model:
            raise RuntimeError(
                f"model {model.name!r} was compiled with another optimizer after the "
                "step of the former one, which no longer changes, was bound to its "
                "layers: pass callbacks=[tf_approxgrad.ApproximationCallback()] to "
                "fit, or call tf_approxgrad.bind_step(model, model.optimizer)."
            )

    def model_of_another(self, other: _StepReader) -> str | None:
        """The name of this reader's model if it and its counter are others."""
        model = self._model()
        if model is None or model is other._model() or self == other:
            return None
        return str(model.name)

    def is_current(self, other: _StepReader) -> bool:
        """Whether another model than `other`'s is alive and trains by this counter."""
        if self.model_of_another(other) is None:
            return False
        optimizer = getattr(self._model(), "optimizer", None)
        return optimizer is None or _source(optimizer) is _source(self._counter)

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
    """The identity of a counter: the variable that is read, if there is one."""
    # An optimizer that accumulates gradients computes its step in each call.
    value = _read(counter)
    return value if isinstance(value, keras.Variable) else counter


def _indexed_layers(model: keras.Model) -> list[tuple[int, ApproximateLayer]]:
    """The converted layers, with their places among the convertible layers."""
    layers = enumerate(convertible_layers(model), start=1)
    return [(i, layer) for i, layer in layers if is_approximated(layer)]


def _check_still_converted(model: keras.Model) -> None:
    """Raises if converted convolutions of a model are plain layers again.

    A user-defined layer that creates its convolutions itself creates plain ones when
    loaded from a file. Plain layers elsewhere were put there by the user. In a model
    composed of some layers of a converted model, convolutions that were never converted
    may be plain.
    """
    convertible, expected = convertible_layers(model), set()
    for place, layer in _indexed_layers(model):
        if not layer.gradient_policy.restored:
            continue
        # Number of convertible layers before those of the layer's original model.
        before = place - layer.gradient_policy.index
        if 0 <= before <= len(convertible) - layer.gradient_policy.count:
            expected |= {before + index for index in layer.gradient_policy.converted}
    if not expected:
        return
    made_by_users: set[int] = set()
    for owner in [model, *all_layers(model)]:
        if type(owner).__module__.partition(".")[0] != "keras":
            # A graph's layers are in the model's configuration, as their own classes.
            of_graph = set(map(id, owner.layers)) if has_graph(owner) else set()
            made_by_users |= {id(layer) for layer in sublayers(owner)} - of_graph
    plain = [
        layer.name
        for place, layer in enumerate(convertible, start=1)
        if place in expected
        and not isinstance(layer, ApproximateLayer)
        and id(layer) in made_by_users
    ]
    if plain:
        raise ValueError(
            f"model {model.name!r} was converted, but its layers {', '.join(plain)} "
            "are plain Keras layers, as after loading a user-defined layer from a "
            "file: convert it again with "
            "tf_approxgrad.approximate_gradients(model, schedule)."
        )


def _check_counter(step: Any) -> None:
    is_variable = isinstance(step, (tf.Variable, keras.Variable))
    if not is_variable or len(step.shape) or "int" not in str(step.dtype):
        raise ValueError(
            f"step={step!r} must be an optimizer, or a scalar integer variable such as "
            "optimizer.iterations: a number would never change. An optimizer that "
            "accumulates gradients has no such variable: pass the optimizer itself."
        )
