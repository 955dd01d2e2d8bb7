"""The layers of a model in its order, nested ones included."""

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
    """Every layer in `model`, once each, in the order of `model.layers`.

    Nested models are walked in their place, and so are layers that hold other layers
    in attributes, lists, tuples or dicts.
    """
    found: dict[int, keras.layers.Layer] = {}
    for layer in _walk(model, seen=set()):
        found.setdefault(id(layer), layer)
    return list(found.values())


def check_model(model: Any, built: bool = True) -> None:
    """Refuses what isn't a Keras model, or one whose layers aren't known yet."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={model!r} must be a keras.Model.")
    if built and not model.built:
        raise ValueError(
            f"model {model.name!r} isn't built, so its layers aren't known: call it on "
            "a batch, or model.build(input_shape), first."
        )


def why_fit_is_exact(model: keras.Model) -> str | None:
    """Why `fit` wouldn't tell the model's layers that they train, or `None` if it does.

    Keras' own training step passes `training=True` to those models only whose `call`
    takes it. The layers of any other compute what they compute outside training.
    """
    own_step = type(model).train_step is keras.Model.train_step
    if not own_step or "training" in inspect.signature(model.call).parameters:
        return None
    return (
        f"call of model {model.name!r}, a {type(model).__name__}, has no argument "
        "training, so that its fit can't tell its layers that they train, and their "
        "gradients would be exact: write def call(self, inputs, training=None)."
    )


def approximated_layers(model: keras.Model) -> list[ApproximateLayer]:
    """The converted layers of `model` in order."""
    return [x for x in all_layers(model) if is_approximated(x)]


def is_approximated(layer: keras.layers.Layer) -> TypeGuard[ApproximateLayer]:
    """Whether a layer is a converted one, and neither left out nor always exact."""
    return (
        isinstance(layer, ApproximateLayer)
        and not layer.gradient_policy.left_out
        and reason_not_convertible(layer) is None
    )


def approximate_class(layer: keras.layers.Layer) -> type[ApproximateLayer] | None:
    """The class that takes the place of a layer's, or is it; `None` if there is none.

    A subclass of one of Keras' layers has none: it may compute something else. One of
    ours is its own.
    """
    if isinstance(layer, ApproximateLayer):
        return type(layer)
    for cls in APPROXIMATE_LAYERS:
        if type(layer) is cls.stock:
            return cls
    return None


def plain_class(layer: keras.layers.Layer) -> type[keras.layers.Layer]:
    """The class of a layer where it isn't converted.

    A user's subclass of one of ours stays what it is: it may compute something else.
    """
    for cls in APPROXIMATE_LAYERS:
        if type(layer) is cls:
            return cls.stock
    return type(layer)


def reason_not_convertible(layer: keras.layers.Layer) -> str | None:
    """Why a layer can't be converted, or `None` if it can."""
    if approximate_class(layer) is None:
        reason = _REASONS.get(type(layer))
        if isinstance(layer, tuple(cls.stock for cls in APPROXIMATE_LAYERS)):
            reason = "a subclass may compute something else"
        name = type(layer).__name__
        return f"{name} isn't supported" + (f": {reason}" if reason else "")
    if getattr(layer, "groups", 1) != 1:
        return f"groups={layer.groups} isn't supported"
    is_ours = isinstance(layer, ApproximateLayer)
    if is_ours and "training" not in inspect.signature(layer.call).parameters:
        name = type(layer).__name__
        return f"call of {name} has no argument training, so that it stays exact"
    return None


def convertible_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The convolutions that a schedule's layer indices count, in order."""
    return [
        layer for layer in all_layers(model) if reason_not_convertible(layer) is None
    ]


def sublayers(owner: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a model or another layer holds itself, once each."""
    found = list(owner.layers) if isinstance(owner, keras.Model) else []
    if not is_model_of_keras(owner):
        # Keras' public interface lists the layers of models only, and of a subclass of
        # Sequential or Functional those only that are called one after the other.
        attributes = _compat.own_attributes(owner)
        found += [layer for x in attributes for layer in _layers_in(x)]
    return list({id(layer): layer for layer in found}.values())


def is_model_of_keras(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a Sequential or Functional model, and no subclass of them."""
    return (
        isinstance(layer, keras.Model)
        and type(layer).__module__.partition(".")[0] == "keras"
        and (isinstance(layer, keras.Sequential) or hasattr(layer, "operations"))
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
