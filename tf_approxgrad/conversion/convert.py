"""Converts a model that the user has, and back."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from tf_approxgrad.conversion.cloning import with_classes
from tf_approxgrad.conversion.report import conversion_report
from tf_approxgrad.conversion.step_binding import assign_schedule
from tf_approxgrad.conversion.traversal import (
    approximate_class,
    approximated_layers,
    check_model,
    convertible_layers,
    plain_class,
    why_fit_is_exact,
)
from tf_approxgrad.gradients.input_gradient import is_biased, parse_input_gradient
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import GradientMethod, MethodLike, are_full
from tf_approxgrad.schedules import Schedule
from tf_approxgrad.schedules.layer_selectors import (
    LayerReference,
    parse_references,
    resolve_references,
)


def approximate_gradients(
    model: keras.Model,
    schedule: Schedule,
    layers: LayerReference | Iterable[LayerReference] | None = None,
    input_gradient: MethodLike | None = None,
) -> keras.Model:
    """Converts a model's convolutions to layers whose filter gradient is approximated.

    `keras.layers.Conv2D` becomes `ApproxConv2D`, and likewise `Conv1D`,
    `SeparableConv2D` and `Conv2DTranspose`; `conversion_report` lists what can't be
    converted and why. The result has the same weights, layer names and outputs. If the
    model was compiled, the result is compiled alike, optimizer state included.

    Sequential and Functional models are copied and stay as they are. A model of a class
    of the user's own, or with layers that Keras can't make from their configuration, is
    converted in place and returned. A converted model can be converted again, to
    another schedule or other layers.

    Args:
        model: A built Keras model with at least one convertible convolution.
        schedule: Which method each convolution uses at each step. Layer indices count
            the convertible convolutions in the model's layer order, from 1, whether
            `layers` names them or not.
        layers: Which convolutions to convert: an index, a name, a compiled regular
            expression that is searched for in the names, a predicate, which is a
            function of the layer; or a list of these. `None` means all. The others are
            plain layers of Keras in the result; of a user's subclass of `ApproxConv2D`
            or its like, the gradient is exact.
        input_gradient: The method, or its name, that makes the input gradients of the
            converted layers as well, at the layers and steps where the schedule's
            method isn't full. `None` leaves them exact. The errors of an input gradient
            travel to all earlier layers, so that a biased method gets a warning: take
            `SampledGradient` or `RowSampledGradient`, with scale 1.

    Returns:
        The converted model. Train it with `ApproximationCallback`, or call `bind_step`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model isn't built or has no convertible convolution, or if
            the schedule or `layers` don't fit it, or if the schedule breaks the promise
            of its segments.

    Example:

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate(tfag.MaxGradient()))
    >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))

    With approximate input gradients at the same layers and steps:

    >>> model = tfag.approximate_gradients(
    ...     model, tfag.Alternate("sampled"), input_gradient="sampled"
    ... )
    >>> model.get_layer("conv2").input_gradient
    SampledGradient(k=1, scale=1.0, seed=0)
    """
    check_model(model)
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule={schedule!r} must be a tf_approxgrad.Schedule, such as "
            'EveryNthLayer("max") or, for all layers at every step, Constant("max").'
        )
    input_method = parse_input_gradient(input_gradient)
    references = None if layers is None else parse_references(layers)
    convertible = convertible_layers(model)
    if not convertible:
        raise ValueError(
            f"model {model.name!r} has no convolution that can be approximated.\n"
            f"{conversion_report(model)}"
        )
    # Before any work, so that a schedule that doesn't fit changes nothing.
    resolved = schedule.resolve(convertible)
    chosen = set(range(1, len(convertible) + 1))
    if references is not None:
        chosen = set(
            resolve_references(references, convertible, "approximate_gradients")
        )
    rows = {index: resolved.row(index) for index in chosen}
    _check_overlap(resolved, layers, rows, len(convertible))
    classes = {}
    for index, layer in enumerate(convertible, start=1):
        cls = approximate_class(layer)
        assert cls is not None
        classes[id(layer)] = cls if index in chosen else plain_class(layer)
    reason = why_fit_is_exact(model)
    if reason is not None:
        warnings.warn(
            f"{reason} A training loop of your own can call model(x, training=True).",
            stacklevel=2,
        )
    if input_method is not None and is_biased(input_method):
        warnings.warn(
            f"input_gradient={input_method!r} is biased. The errors of an input "
            "gradient travel to all earlier layers, and a bias doesn't average out "
            "over the steps. Recommended are only SampledGradient and "
            'RowSampledGradient with scale=1, and the latter with probability="norm".',
            stacklevel=2,
        )
    converted = with_classes(model, classes)
    for index, layer in enumerate(convertible_layers(converted), start=1):
        if isinstance(layer, ApproximateLayer):
            if index in chosen:
                layer.gradient_policy.left_out = False
                layer.gradient_policy.input_method = input_method
            else:
                layer.gradient_policy.leave_out()
    assign_schedule(converted, schedule, rows)
    return converted


def _check_overlap(
    schedule: Schedule,
    layers: Any,
    rows: Mapping[int, tuple[GradientMethod, ...]],
    count: int,
) -> None:
    """Refuses `layers` that a schedule leaves out, if it approximates any others."""
    if not all(map(are_full, rows.values())):
        return
    others = [index for index in range(1, count + 1) if index not in rows]
    missed = [index for index in others if not are_full(schedule.row(index))]
    if missed:
        raise ValueError(
            f"layers={layers!r} names convolutions {sorted(rows)}, and "
            f"schedule={schedule!r} approximates none of them, but {missed}: it "
            "counts all of the model's convolutions that could be converted, "
            "whether layers names them or not."
        )


def strip_approximation(model: keras.Model) -> keras.Model:
    """Turns a converted model into one of Keras' own layers again.

    Args:
        model: A model that `approximate_gradients` returned. One without converted
            layers is returned as it is.

    Returns:
        A model of the same weights, layer names and outputs, copied or converted in
        place as by `approximate_gradients`. A layer of a user's subclass of
        `ApproxConv2D` or its like keeps its class, because Keras' own may compute
        something else; its gradient is exact.

    Raises:
        TypeError: If the argument isn't a model.
        ValueError: If the model isn't built.

    Example:

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    >>> model = tfag.strip_approximation(model)
    >>> tfag.conversion_report(model).converted
    []
    """
    check_model(model)
    layers = approximated_layers(model)
    if not layers:
        return model
    stripped = with_classes(model, {id(layer): plain_class(layer) for layer in layers})
    for layer in approximated_layers(stripped):
        layer.gradient_policy.leave_out()
    return stripped
