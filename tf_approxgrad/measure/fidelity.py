"""`fidelity`: comparison of approximate gradients with the exact ones, on a batch."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad import methods as gradient_methods
from tf_approxgrad.conversion.traversal import (
    approximated_layers,
    check_model,
    convertible_layers,
)
from tf_approxgrad.gradients.input_gradient import parse_input_gradient
from tf_approxgrad.measure.backward_pass import forward_pass, loss_function
from tf_approxgrad.measure.per_layer import measure_layers
from tf_approxgrad.measure.propagated import measure_propagated
from tf_approxgrad.measure.report import GRADIENTS, FidelityReport
from tf_approxgrad.methods import GradientMethod, MethodLike
from tf_approxgrad.schedules.layer_selectors import (
    LayerReference,
    parse_references,
    resolve_references,
)
from tf_approxgrad.utils.checks import check_integer


def fidelity(
    model: keras.Model,
    x: Any,
    y: Any = None,
    methods: MethodLike | Iterable[MethodLike] | None = None,
    *,
    gradient: str = "filter",
    layers: LayerReference | Iterable[LayerReference] | None = None,
    loss: Any = None,
    sample_weight: Any = None,
    step: int = 0,
    draws: int = 16,
    repeats: int = 10,
) -> FidelityReport:
    """Compares approximate gradients with the exact ones, on a batch.

    `gradient` selects the gradients:

    - `"filter"`: each layer's filter gradient by the method;
    - `"input"`: each layer's input gradient by the method;
    - `"propagated"`: each layer's filter gradient, computed exactly while the method
      computes the input gradients of all layers. It shows how errors of input gradients
      propagate to earlier layers.

    For each layer and method, with g the exact gradient and a the compared one:

    - cosine `a.g / (|a| |g|)`, relative error `|a - g| / |g|` and norm ratio
      `|a| / |g|`;
    - bias `|E a - g| / |g|` and variance `E |a - E a|^2 / |g|^2`, both relative to the
      norm of g, with E the expectation over the method's random numbers;
    - times of g and of a, in milliseconds.

    A method that draws random numbers is computed at `draws` consecutive steps on the
    same batch, which is equivalent to other seeds. Cosine and norm ratio are then means
    over the draws, the relative error is the root mean square, and bias and variance
    are estimated such that `relative_error**2 = bias**2 + variance`: the variance is
    the sample variance, and its contribution to the squared bias of the mean is
    subtracted, down to 0. A bias below `sqrt(variance / draws)` isn't significant. A
    method without random numbers has a bias equal to its relative error and the
    variance 0. Where a norm is zero, ratios to it are zero.

    Times are measured on this machine, for the gradient alone, with the layer's own
    input and output gradient, in a compiled `tf.function`, in interleaved rounds of the
    exact gradient and the methods. A call has an overhead of about 0.1 ms, so times of
    very small layers are not meaningful. `"propagated"` isn't timed.

    The model may be plain or converted, compiled or not. It runs one forward and one
    backward pass in training, eagerly (for `"propagated"`, one backward pass for each
    draw of each method). Afterwards its state is restored: weights, optimizer,
    statistics of normalisation, metrics, seed generators and conversion. Only random
    numbers drawn without a `keras.random.SeedGenerator` advance. All inputs and output
    gradients of the convolutions are held in memory at once.

    Args:
        model: A built Keras model with at least one convertible convolution.
        x: Inputs of one batch: an array, or a list or dict of arrays, as for `fit`.
        y: Targets of the batch, likewise.
        methods: Methods to compare: a method or its name, or a list of these. `None`
            means all methods of this package with default settings.
        gradient: `"filter"`, `"input"` or `"propagated"`: see above.
        layers: The layers, as for `approximate_gradients`. `None` means the converted
            layers, or all convertible layers of a model without converted ones. Layers
            without such a gradient have no row: frozen layers have no filter gradient,
            and layers before all trainable weights no input gradient.
        loss: A loss, as for `compile`. `None` means the loss of the compiled model.
        sample_weight: Weights of the examples, as for `fit`.
        step: First training step to draw random numbers for, from 0.
        draws: Number of steps for methods that draw random numbers, at least 2.
        repeats: Number of measurements of each time; 0 for none, with NaN for the
            times.

    Returns:
        A `FidelityReport`; `str` of it is a table.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model isn't built, isn't compiled while `loss` is None, or
            has no convertible convolution that gets a gradient; or if an argument isn't
            allowed.
        RuntimeError: If a layer is called in a graph inside the model.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(8, 8, 1))
    >>> x, y = np.random.normal(size=(16, 8, 8, 1)), np.arange(16) % 10
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> report = tfag.fidelity(model, x, y, ["full", "zero"], loss=loss, repeats=0)
    >>> print(report)
    Fidelity of filter gradients of model: "cnn2"
    ┏━━━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━━┳━━━━━━┳━━━━━━━━━━┓
    ┃ Layer, methods ┃ Cosine ┃ Error ┃ Norm ratio ┃ Bias ┃ Variance ┃
    ┡━━━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━━╇━━━━━━╇━━━━━━━━━━┩
    │ conv1 (1)      │        │       │            │      │          │
    │   full         │   1.00 │  0.00 │       1.00 │ 0.00 │     0.00 │
    │   zero         │   0.00 │  1.00 │       0.00 │ 1.00 │     0.00 │
    ├────────────────┼────────┼───────┼────────────┼──────┼──────────┤
    │ conv2 (2)      │        │       │            │      │          │
    │   full         │   1.00 │  0.00 │       1.00 │ 0.00 │     0.00 │
    │   zero         │   0.00 │  1.00 │       0.00 │ 1.00 │     0.00 │
    └────────────────┴────────┴───────┴────────────┴──────┴──────────┘

    With all input gradients zero, the first layer's filter gradient is zero, too:

    >>> report = tfag.fidelity(model, x, y, "zero", gradient="propagated", loss=loss)
    >>> [row.relative_error for row in report.rows]
    [1.0, 0.0]
    """
    check_model(model)
    if gradient not in GRADIENTS:
        raise ValueError(
            f"gradient={gradient!r} must be one of {', '.join(map(repr, GRADIENTS))}."
        )
    chosen_methods = _parse_methods(methods)
    if gradient != "filter":
        for method in chosen_methods:
            parse_input_gradient(method)
    step = check_integer("step", step, 0, gradient_methods.INT64_MAX)
    draws = check_integer("draws", draws, 2)
    repeats = check_integer("repeats", repeats, 0)
    compute_loss = loss_function(model, loss)
    chosen = _choose_layers(model, layers)
    forward = functools.partial(
        forward_pass,
        model,
        _as_tensors("x", x),
        _as_tensors("y", y),
        _as_tensors("sample_weight", sample_weight),
        compute_loss,
        persistent=gradient == "propagated",
    )
    steps = range(step, step + draws)
    if gradient == "propagated":
        rows = measure_propagated(model, chosen, forward, chosen_methods, steps)
    else:
        measured = chosen
        if gradient == "filter":
            measured = {i: x for i, x in chosen.items() if x.trainable_weights}
        rows = measure_layers(
            model, measured, gradient, forward, chosen_methods, steps, repeats
        )
    found = {row.index for row in rows}
    left = [layer.name for index, layer in chosen.items() if index not in found]
    if not rows:
        what, why = "filter", "are frozen"
        if gradient == "input":
            what, why = "input", "precede all trainable weights"
        raise ValueError(
            f"model {model.name!r} has no {what} gradient to compare: the layers "
            f"{', '.join(left)} {why}, or receive no gradient."
        )
    return FidelityReport(model.name, tuple(rows), tuple(left), gradient)


def _parse_methods(
    methods: MethodLike | Iterable[MethodLike] | None,
) -> list[GradientMethod]:
    if methods is None:
        return list(gradient_methods.defaults())
    distinct = gradient_methods.get_all("methods", methods)
    if not distinct:
        raise ValueError(
            "methods must be None, for all methods, or hold at least one method, "
            f"got {methods!r}"
        )
    return distinct


def _choose_layers(
    model: keras.Model, layers: LayerReference | Iterable[LayerReference] | None
) -> dict[int, keras.layers.Layer]:
    """The layers to measure, by layer index."""
    convertible = convertible_layers(model)
    if not convertible:
        raise ValueError(
            f"model {model.name!r} has no convolution that can be approximated; "
            "tf_approxgrad.conversion_report(model) says why."
        )
    numbered = dict(enumerate(convertible, start=1))
    if layers is not None:
        references = parse_references(layers)
        indices = resolve_references(references, convertible, "fidelity")
        return {index: numbered[index] for index in indices}
    converted = set(map(id, approximated_layers(model)))
    return {i: x for i, x in numbered.items() if not converted or id(x) in converted}


def _as_tensors(name: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        return keras.tree.map_structure(tf.convert_to_tensor, value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be an array, or a list or dict of arrays, that holds one "
            f"batch, got a {type(value).__name__}: {error}"
        ) from error
