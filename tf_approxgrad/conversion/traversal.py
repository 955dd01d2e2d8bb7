"""A model's layers in order, including nested ones, and their convertibility."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, TypeGuard

import keras

from tf_approxgrad import _compat
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.layers.conv import APPROXIMATE_LAYERS

_REASONS = {
    keras.layers.DepthwiseConv2D: (
        "its filters take one input channel each, the op's take all"
    ),
    keras.layers.Conv3D: "the op's positions have two axes, not three",
}


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model, without repetition, in the order of `model.layers`.

    The layers of a nested model follow it, and so do the layers that another layer
    holds in attributes, lists, tuples or dicts.
    """
    found: dict[int, keras.layers.Layer] = {}
    for layer in _walk(model, seen=set()):
        found.setdefault(id(layer), layer)
    return list(found.values())


def check_model(model: Any, built: bool = True) -> None:
    """Raises if `model` isn't a Keras model, or isn't built although it must be."""
    if not isinstance(model, keras.Model):
        roots = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
        if "tf_keras" in roots:
            raise TypeError(
                f"model={model!r} is a model of tf_keras, Keras 2: tf_approxgrad "
                "converts models of Keras 3, of which tf.keras and keras are names "
                "unless TF_USE_LEGACY_KERAS=1 is set."
            )
        raise TypeError(f"model={model!r} must be a keras.Model.")
    if built and not model.built:
        raise ValueError(
            f"model {model.name!r} isn't built, so its layers aren't known: call it on "
            "a batch, or model.build(input_shape), first."
        )


def why_fit_is_exact(model: keras.Model) -> str | None:
    """The reason why `fit` doesn't run the model's layers in training, or `None`.

    Keras' training step passes `training=True` only to models whose `call` takes it.
    The layers of other models compute exact gradients.
    """
    own_step = type(model).train_step is keras.Model.train_step
    if not own_step or "training" in inspect.signature(model.call).parameters:
        return None
    return (
        f"call of model {model.name!r}, a {type(model).__name__}, has no argument "
        "training, so that fit doesn't run its layers in training, and their "
        "gradients would be exact: write def call(self, inputs, training=None)."
    )


def approximated_layers(model: keras.Model) -> list[ApproximateLayer]:
    """The model's converted layers in order."""
    return [x for x in all_layers(model) if is_approximated(x)]


def is_approximated(layer: keras.layers.Layer) -> TypeGuard[ApproximateLayer]:
    """Whether a layer is converted: neither left out nor inconvertible."""
    return has_policy(layer) and reason_not_convertible(layer) is None


def has_policy(layer: keras.layers.Layer) -> TypeGuard[ApproximateLayer]:
    """Whether a layer's gradients follow a schedule or a method."""
    return isinstance(layer, ApproximateLayer) and not layer.gradient_policy.left_out


def approximate_class(layer: keras.layers.Layer) -> type[ApproximateLayer] | None:
    """The approximate class of a layer; `None` if there is none.

    An approximate layer has its own class. A subclass of a Keras layer has none, as it
    may compute something else.
    """
    if isinstance(layer, ApproximateLayer):
        return type(layer)
    for cls in APPROXIMATE_LAYERS:
        if type(layer) is cls.stock:
            return cls
    return None


def plain_class(layer: keras.layers.Layer) -> type[keras.layers.Layer]:
    """The class of a layer that isn't converted.

    A user-defined subclass of an approximate layer keeps its class, as it may compute
    something else, and so does a layer whose `call` was replaced after its conversion.
    """
    for cls in APPROXIMATE_LAYERS:
        if type(layer) is cls and not _replaced_methods(layer):
            return cls.stock
    return type(layer)


def reason_not_convertible(layer: keras.layers.Layer) -> str | None:
    """The reason why a layer can't be converted, or `None`."""
    if approximate_class(layer) is None:
        reason = _REASONS.get(type(layer))
        if isinstance(layer, tuple(cls.stock for cls in APPROXIMATE_LAYERS)):
            reason = "a subclass may compute something else"
        name = type(layer).__name__
        return f"{name} isn't supported" + (f": {reason}" if reason else "")
    replaced = _replaced_methods(layer)
    if replaced and not isinstance(layer, ApproximateLayer):
        return f"its method {replaced[0]} is replaced"
    if getattr(layer, "groups", 1) != 1:
        return f"groups={layer.groups} isn't supported"
    is_ours = isinstance(layer, ApproximateLayer)
    if is_ours and "training" not in inspect.signature(type(layer).call).parameters:
        name = type(layer).__name__
        return f"call of {name} has no argument training, so that it stays exact"
    return None


def _replaced_methods(layer: keras.layers.Layer) -> list[str]:
    """Methods of the convolution that the user replaced on the layer itself."""
    return [name for name in ("call", "convolution_op") if name in vars(layer)]


def convertible_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The convolutions that layer indices count, in order."""
    return [
        layer for layer in all_layers(model) if reason_not_convertible(layer) is None
    ]


def sublayers(owner: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers directly in a model or another layer, without repetition."""
    found = list(owner.layers) if isinstance(owner, keras.Model) else []
    if not is_model_of_keras(owner):
        # Keras lists the layers of models only, and for subclasses of Sequential and
        # Functional only those in the graph.
        held = _compat.own_attributes(owner, (keras.layers.Layer, dict, list, tuple))
        found += [layer for value in held for layer in _layers_in(value)]
    return list({id(layer): layer for layer in found}.values())


def is_model_of_keras(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a Sequential or Functional model, not of a subclass."""
    return has_graph(layer) and type(layer).__module__.partition(".")[0] == "keras"


def has_graph(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a Sequential or Functional model, or of a subclass."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def _walk(owner: Any, seen: set[int]) -> Iterator[keras.layers.Layer]:
    if id(owner) in seen:
        return
    seen.add(id(owner))
    for child in sublayers(owner):
        yield child
        yield from _walk(child, seen)


def _layers_in(value: Any) -> Iterator[keras.layers.Layer]:
    if isinstance(value, keras.layers.Layer):
        yield value
    elif isinstance(value, dict):
        for element in value.values():
            yield from _layers_in(element)
    elif isinstance(value, (list, tuple)):
        for element in value:
            yield from _layers_in(element)
