"""`approximate_gradients` and `strip_approximation`: conversion of a model and back."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from tf_approxgrad.conversion.layer_classes import LayerState, restoring
from tf_approxgrad.conversion.report import conversion_report
from tf_approxgrad.conversion.traversal import (
    all_layers,
    approximate_class,
    check_model,
    has_policy,
    plain_class,
    reason_not_convertible,
    why_fit_is_exact,
)
from tf_approxgrad.gradients.input_gradient import is_biased, parse_input_gradient
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    MethodLike,
    are_full,
)
from tf_approxgrad.schedules import Constant, Schedule
from tf_approxgrad.schedules.layer_selectors import (
    LayerReference,
    parse_references,
    resolve_references,
)

# A converted model's attribute in which a callback keeps its state. A new conversion
# begins without it.
CALLBACK_STATE = "tf_approxgrad_plateau"


def approximate_gradients(
    model: keras.Model,
    schedule: Schedule | None = None,
    layers: LayerReference | Iterable[LayerReference] | None = None,
    input_gradient: MethodLike | None = None,
) -> keras.Model:
    """Converts a model's convolutions to layers whose gradients methods compute.

    Without a schedule the gradients stay exact, up to rounding, and are computed by the
    fastest kernels: `ExactGradient` for filters and inputs.

    `keras.layers.Conv2D` becomes `ApproxConv2D`, and likewise `Conv1D`,
    `SeparableConv2D` and `Conv2DTranspose`. `conversion_report` lists the other
    convolutions and the reasons.

    The model is converted in place and returned: its layers change their classes, and
    nothing else changes. If an error is raised, the model is as it was. A plain twin,
    to compare with, is made before: `keras.models.clone_model(model)`, with weights of
    its own.

    Other models that share these layers have them converted too: compile them again.
    A `tf.function` of the user's own that was traced before goes on as it was traced.

    A converted model can be converted again, to another schedule or other layers.

    Args:
        model: A built Keras model with at least one convertible convolution.
        schedule: A `Schedule`: which method each convolution uses at each step. `None`
            means `Constant(ExactGradient())`. Layer indices count all convertible
            convolutions in the model's layer order, from 1, whether or not `layers`
            selects them.
        layers: Convolutions to convert: an index, a name, a compiled regular expression
            to search for in the names, a predicate (a function of the layer that
            returns a bool), or a list of these. `None` means all. The others are, or
            become, Keras layers; those of a user-defined subclass of an approximate
            layer keep their class, and their gradients are exact.
        input_gradient: The method, or its name, of the converted layers' input
            gradients, at the layers and steps where the schedule's method isn't full;
            approximate ones, where it isn't exact. `None` means exact: by
            `ExactGradient` without a schedule and with a `Plan`, else by TensorFlow's
            op. `"exact"` goes with any schedule. Errors of input gradients propagate to
            all earlier layers, so biased methods give a warning: prefer
            `SampledGradient` or `RowSampledGradient` with scale 1.

    Returns:
        `model`, converted. With a schedule, train it with `ApproximationCallback`, or
        call `bind_step`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model isn't built or has no convertible convolution, or if
            `schedule` or `layers` don't fit it, or if the schedule's segments don't
            describe its methods.

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
    if schedule is None:
        schedule = Constant(ExactGradient())
        input_gradient = ExactGradient() if input_gradient is None else input_gradient
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule={schedule!r} must be None, for exact gradients by the fastest "
            "kernels, or a tf_approxgrad.Schedule, such as EveryNthLayer('max') or, "
            "for all layers at every step, Constant('max')."
        )
    if input_gradient is None:
        input_gradient = schedule.input_gradient
    input_method = parse_input_gradient(input_gradient)
    references = None if layers is None else parse_references(layers)
    every = all_layers(model)
    convertible = [x for x in every if reason_not_convertible(x) is None]
    if not convertible:
        raise ValueError(
            f"model {model.name!r} has no convolution that can be approximated.\n"
            f"{conversion_report(model)}"
        )
    resolved = schedule.resolve(convertible)
    chosen = set(range(1, len(convertible) + 1))
    if references is not None:
        chosen = set(
            resolve_references(references, convertible, "approximate_gradients")
        )
    rows = {index: resolved.rows(index) for index in chosen}
    _check_overlap(resolved, layers, rows, len(convertible))
    changes = []
    for index, layer in enumerate(convertible, start=1):
        if index not in chosen:
            changes.append(_left_exact(layer))
            continue
        before = vars(layer).get("_gradient_policy")
        policy = LayerPolicy(
            layer.name,
            before.method if before is not None else FullGradient(),
            step=before.step if before is not None else None,
            count=len(convertible),
            converted=tuple(sorted(chosen)),
            input_method=input_method,
        )
        policy.assign(resolved, index, rows[index])
        cls = approximate_class(layer)
        assert cls is not None
        changes.append(LayerState.planned(layer, cls, policy))
    approximates = not all(method.is_exact for row in rows.values() for method in row)
    reason = why_fit_is_exact(model)
    if reason is not None and approximates:
        warnings.warn(
            f"{reason} A custom training loop can call model(x, training=True).",
            stacklevel=2,
        )
    if input_method is not None and is_biased(input_method):
        warnings.warn(
            f"input_gradient={input_method!r} is biased. Errors of input gradients "
            "propagate to all earlier layers, and a bias doesn't average out over the "
            "steps. Prefer SampledGradient and RowSampledGradient with scale=1, the "
            'latter with probability="norm".',
            stacklevel=2,
        )
    _change([model, *every], changes)
    return model


def _left_exact(layer: keras.layers.Layer) -> LayerState:
    """The state of a layer that isn't converted, or no longer."""
    cls = plain_class(layer)
    if not issubclass(cls, ApproximateLayer):
        return LayerState.planned(layer, cls, None)
    method = layer.gradient_policy.method
    policy = LayerPolicy(layer.name, method, left_out=True)
    return LayerState.planned(layer, cls, policy)


def _change(parts: Sequence[keras.layers.Layer], states: Sequence[LayerState]) -> None:
    """Changes layers of a model and its parts; `fit` traces its step again."""
    models = [part for part in parts if isinstance(part, keras.Model)]
    with restoring(states):
        for model in models:
            if model.train_function is not None:
                model.make_train_function(force=True)
    for model in models:
        vars(model).pop(CALLBACK_STATE, None)


def _check_overlap(
    schedule: Schedule,
    layers: Any,
    rows: Mapping[int, tuple[GradientMethod, ...]],
    count: int,
) -> None:
    """Raises if the schedule approximates none of the chosen layers, but others."""
    if not all(map(are_full, rows.values())):
        return
    others = [index for index in range(1, count + 1) if index not in rows]
    missed = [index for index in others if not are_full(schedule.rows(index))]
    if missed:
        raise ValueError(
            f"layers={layers!r} selects convolutions {sorted(rows)}, and "
            f"schedule={schedule!r} approximates none of them, but {missed}: its layer "
            "indices count all of the model's convertible convolutions, whether or not "
            "layers selects them."
        )


def strip_approximation(model: keras.Model) -> keras.Model:
    """Converts a converted model back to Keras' layers.

    Args:
        model: A built model, as from `approximate_gradients`. A model without converted
            layers is returned unchanged.

    Returns:
        `model`, whose layers changed their classes in place, as by
        `approximate_gradients`. Layers of a user-defined subclass of an approximate
        layer keep their class, as Keras' layer may compute something else; their
        gradients are exact.

    Raises:
        TypeError: If `model` isn't a Keras model.
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
    every = all_layers(model)
    layers = [layer for layer in every if has_policy(layer)]
    if layers:
        _change([model, *every], [_left_exact(layer) for layer in layers])
    return model
