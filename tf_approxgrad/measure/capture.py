"""Observing the gradients of some layers of a model, which is left as it was."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.conversion.cloning import change_in_place
from tf_approxgrad.conversion.traversal import approximate_class
from tf_approxgrad.gradients.observer import Observer, observed_by
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.measure.backward_pass import preserved_state
from tf_approxgrad.methods import FullGradient, ZeroGradient


@contextlib.contextmanager
def observed_layers(
    model: keras.Model, layers: Mapping[int, keras.layers.Layer]
) -> Iterator[tuple[Observer, dict[int, LayerPolicy]]]:
    """Observes backward passes of a model that run meanwhile.

    Filter gradients are zero, as only what they are made from is recorded. Plain layers
    are of this package's classes for the time. Afterwards the model is what it was
    before: weights, optimizer, statistics, metrics, seed generators, classes.

    Args:
        model: A built model.
        layers: Convertible layers of it, by layer index.

    Yields:
        The observer, and by layer index the policies under which it records. A layer
        through which no gradient came has no calls.

    Raises:
        RuntimeError: If a layer is called in a graph.
    """
    policies = {
        index: LayerPolicy(layer.name, FullGradient(), index=_index(layer, index))
        for index, layer in layers.items()
    }
    observer = Observer(
        set(policies.values()), filter_method=ZeroGradient(), eager=True
    )
    with (
        _preserved_random_states(),
        preserved_state(model),
        _following(layers, policies),
        _functions_run_eagerly(),
        observed_by(observer),
    ):
        yield observer, policies


def _index(layer: keras.layers.Layer, place: int) -> int:
    """The layer index by which a layer draws its random numbers."""
    if isinstance(layer, ApproximateLayer):
        return layer.gradient_policy.index or place
    return place


@contextlib.contextmanager
def _following(
    layers: Mapping[int, keras.layers.Layer], policies: Mapping[int, LayerPolicy]
) -> Iterator[None]:
    """Gives convertible layers a policy each, and then takes it away."""
    before = [(x, type(x), dict(vars(x))) for x in layers.values()]
    try:
        change_in_place(
            list(layers.values()), [approximate_class(x) for x in layers.values()]
        )
        for index, layer in layers.items():
            vars(layer)["_gradient_policy"] = policies[index]
        yield
    finally:
        for layer, cls, attributes in before:
            layer.__class__ = cls
            vars(layer).clear()
            vars(layer).update(attributes)


@contextlib.contextmanager
def _preserved_random_states() -> Iterator[None]:
    # Keras draws the seeds of new layers' initialisers from Python's generator.
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def _functions_run_eagerly() -> Iterator[None]:
    """Makes a `tf.function` in the model run eagerly, so that tensors have values."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
