"""Costs of the exact filter gradients of a model's convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras

from tf_approxgrad.conversion.traversal import sublayers

Shape = tuple[int | None, ...]

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_ORDINARY = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
CONVOLUTIONS = (*_ORDINARY, *_TRANSPOSED, *_DEPTHWISE, *_SEPARABLE)


def filter_gradient_costs(model: keras.Model) -> dict[int, int | None]:
    """Multiply-adds of the exact filter gradient of each convolution, for one example.

    Args:
        model: Any Keras model.

    Returns:
        Costs by the `id` of the layer, summed over the layer's calls in the model;
        `None` if the size of an input isn't known.
    """
    costs: dict[int, int | None] = {}
    for layer, shape, times in _calls(model, 1):
        cost, before = _cost(layer, shape), costs.get(id(layer), 0)
        if cost is None or before is None:
            costs[id(layer)] = None
        else:
            costs[id(layer)] = before + times * cost
    return costs


def convertible_share(layer: keras.layers.Layer) -> float:
    """The share, from 0 to 1, of a convolution's cost that methods can replace.

    For a separable layer this is the share of the pointwise filters.
    """
    if not isinstance(layer, _SEPARABLE):
        return 1.0
    return layer.filters / (math.prod(layer.kernel_size) + layer.filters)


def input_shape(layer: keras.layers.Layer) -> Shape | None:
    """The shape that a convolution was built for; `None` if it isn't built."""
    config = layer.get_build_config() if layer.built else None
    shape = (config or {}).get("input_shape")
    return None if shape is None else tuple(shape)


def output_shape(layer: keras.layers.Layer) -> Shape | None:
    """The output shape of a convolution; `None` if it isn't built."""
    shape = input_shape(layer)
    return None if shape is None else tuple(layer.compute_output_shape(shape))


def _calls(
    owner: keras.layers.Layer, times: int
) -> Iterator[tuple[keras.layers.Layer, Shape | None, int]]:
    """The convolutions in a layer, each with an input shape and a number of calls."""
    nodes = _input_shapes(owner)
    for layer in sublayers(owner):
        shapes: list[Shape | None] = [*nodes.get(layer.name, ())]
        shapes = shapes or [input_shape(layer)]
        if isinstance(layer, CONVOLUTIONS):
            for shape in shapes:
                yield layer, shape, times
            continue
        repeated = times * len(shapes)
        if isinstance(layer, keras.layers.TimeDistributed):
            repeated *= (input_shape(layer) or (1, 1))[1] or 1
        yield from _calls(layer, repeated)


def _input_shapes(owner: keras.layers.Layer) -> dict[str, list[Shape]]:
    """Shapes of the first input in each call of a model's layers, by layer name."""
    if isinstance(owner, keras.Sequential) or not hasattr(owner, "operations"):
        return {}
    try:
        layers = owner.get_config()["layers"]
    # User-defined layers may have no configuration.
    except (KeyError, NotImplementedError, TypeError, ValueError):
        return {}
    shapes: dict[str, list[Shape]] = {}
    for layer in layers:
        for node in layer["inbound_nodes"]:
            tensors = [
                x
                for x in _flat(node["args"]) + _flat(node["kwargs"])
                if x["class_name"] == "__keras_tensor__"
            ]
            if tensors:
                shape = tuple(tensors[0]["config"]["shape"])
                shapes.setdefault(layer["name"], []).append(shape)
    return shapes


def _flat(value: Any) -> list[dict[str, Any]]:
    """The serialised objects in nested lists and dicts."""
    if isinstance(value, dict):
        if "class_name" in value:
            return [value]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [x for element in value for x in _flat(element)]
    return []


def _cost(layer: keras.layers.Layer, shape: Shape | None) -> int | None:
    if shape is None:
        return None
    last = layer.data_format == "channels_last"
    spatial = slice(1, -1) if last else slice(2, None)
    inputs, outputs = shape[spatial], layer.compute_output_shape(shape)[spatial]
    positions = inputs if isinstance(layer, _TRANSPOSED) else outputs
    sizes = [size for size in positions if size is not None]
    if len(sizes) < len(positions):
        return None
    count: int = math.prod(sizes)
    channels: int = shape[-1 if last else 1]  # type: ignore[assignment]
    taps: int = math.prod(layer.kernel_size)
    if isinstance(layer, _DEPTHWISE):
        return count * taps * channels * layer.depth_multiplier
    if isinstance(layer, _SEPARABLE):
        return count * channels * layer.depth_multiplier * (taps + layer.filters)
    return count * taps * channels * layer.filters // getattr(layer, "groups", 1)
