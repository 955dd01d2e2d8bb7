"""The layers of a model in its order, nested ones included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from tf_approxgrad.layers import ApproxConv2D


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer in `model`, once each, in the order of `model.layers`.

    Nested models are walked in their place, and so are layers that hold other layers
    in attributes, lists, tuples or dicts.
    """
    found: dict[int, keras.layers.Layer] = {}
    for layer in _walk(model, seen=set()):
        found.setdefault(id(layer), layer)
    return list(found.values())


def approximated_layers(model: keras.Model) -> list[ApproxConv2D]:
    """The `ApproxConv2D` layers of `model` in order."""
    return [layer for layer in all_layers(model) if isinstance(layer, ApproxConv2D)]


def reason_not_convertible(layer: keras.layers.Layer) -> str | None:
    """Why a layer can't be converted, or `None` if it can."""
    if type(layer) not in (keras.layers.Conv2D, ApproxConv2D):
        return f"{type(layer).__name__} isn't supported, only Conv2D itself"
    if layer.groups != 1:
        return f"groups={layer.groups} isn't supported"
    return None


def convertible_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The convolutions that a schedule's layer indices count, in order."""
    return [
        layer for layer in all_layers(model) if reason_not_convertible(layer) is None
    ]


def _walk(owner: Any, seen: set[int]) -> Iterator[keras.layers.Layer]:
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, keras.Model):
        children = list(owner.layers)
    else:
        # Keras' public interface lists the layers of models only.
        children = [
            value
            for attribute in vars(owner).values()
            for value in _layers_in(attribute)
        ]
    for child in children:
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
