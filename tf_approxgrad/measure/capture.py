"""Observation of the gradients of a model's layers, without side effects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import keras
import tensorflow as tf

from tf_approxgrad.conversion.layer_classes import LayerState, temporary
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
    """Observes the eager backward passes of a model that run in this context.

    Filter gradients are recorded by their inputs, and are zero in the passes. Plain
    layers temporarily have this package's classes. On exit the model's state is
    restored: weights, optimizer, statistics, metrics, seed generators, classes.

    Args:
        model: A built model.
        layers: Its convertible layers to observe, by layer index.

    Yields:
        The observer, and the policies that it records by, by layer index. Layers that
        get no gradient have no recorded calls.

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
        preserved_state(model),
        temporary_policies(layers, policies),
        _functions_run_eagerly(),
        observed_by(observer),
    ):
        yield observer, policies


def temporary_policies(
    layers: Mapping[int, keras.layers.Layer], policies: Mapping[int, LayerPolicy]
) -> contextlib.AbstractContextManager[None]:
    """Lets layers follow policies in a context, plain ones by this package's classes.

    Args:
        layers: Convertible layers, by layer index.
        policies: A policy for each.
    """
    return temporary(
        [
            LayerState.planned(
                layer, approximate_class(layer) or type(layer), policies[index]
            )
            for index, layer in layers.items()
        ]
    )


def _index(layer: keras.layers.Layer, place: int) -> int:
    """The layer index of a layer's random numbers."""
    if isinstance(layer, ApproximateLayer):
        return layer.gradient_policy.index or place
    return place


@contextlib.contextmanager
def _functions_run_eagerly() -> Iterator[None]:
    """Runs the model's `tf.function`s eagerly, so that tensors have values."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
