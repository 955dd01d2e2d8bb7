"""`fidelity`: approximate filter gradients against the exact ones, on a batch."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad import methods as gradient_methods
from tf_approxgrad.checks import as_tuple, check_integer
from tf_approxgrad.comparison import backpropagate, loss_function, measures
from tf_approxgrad.fidelity_report import FidelityReport, FidelityRow
from tf_approxgrad.layer_references import (
    LayerReference,
    parse_references,
    resolve_references,
)
from tf_approxgrad.methods import FullGradient, GradientMethod, MethodLike
from tf_approxgrad.model_layers import (
    approximated_layers,
    check_model,
    convertible_layers,
)
from tf_approxgrad.probe import Probe, probe_layers
from tf_approxgrad.timing import time_in_turns


def fidelity(
    model: keras.Model,
    x: Any,
    y: Any = None,
    methods: MethodLike | Iterable[MethodLike] | None = None,
    *,
    layers: LayerReference | Iterable[LayerReference] | None = None,
    loss: Any = None,
    sample_weight: Any = None,
    step: int = 0,
    draws: int = 16,
    repeats: int = 10,
) -> FidelityReport:
    """Compares approximate filter gradients with the exact ones, on a batch.

    For each layer and method, with g the exact filter gradient and a the method's:

    - cosine `a.g / (|a| |g|)`, relative error `|a - g| / |g|` and norm ratio
      `|a| / |g|`;
    - bias `|E a - g| / |g|` and variance `E |a - E a|^2 / |g|^2`, both relative to the
      norm of g, with E the mean over what a method may draw;
    - milliseconds of g and of a.

    A method that draws random numbers is computed at `draws` steps in turn, which draw
    as other seeds would, on the same batch. Cosine and norm ratio are then the means
    over the draws, the relative error is the root of the mean square, and bias and
    variance are estimated such that `relative_error**2 = bias**2 + variance`: the
    variance is the sample variance, and what it adds to the bias of a mean of so few
    draws is taken off, down to 0. A bias below `sqrt(variance / draws)` can't be told
    from none. A method that draws nothing has a bias equal to its relative error and
    the variance 0. Where a norm is zero, a ratio to it counts as zero.

    Times are those of this machine and of the filter gradient alone, with the layer's
    own input and output gradient, in a compiled `tf.function`; the exact gradient and
    the methods take turns. A call takes some 0.1 ms whatever it does, so times of very
    small layers say little.

    The model may be plain or converted, compiled or not. It is run forwards and
    backwards once, in training and eagerly, and left as it was: weights, optimizer,
    statistics of normalisation, metrics, seed generators and what it was converted to.
    Only random numbers that a layer of your own draws without a
    `keras.random.SeedGenerator` go on. All inputs and output gradients of the
    convolutions are in memory at the same time.

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

    Args:
      model: A built Keras model with at least one convertible convolution.
      x: The inputs of one batch: an array, or a list or dict of arrays, as for `fit`.
      y: Its targets, likewise.
      methods: The methods to compare: a method or its name, or a list of these. `None`
        means all methods of this package with their default arguments.
      layers: The layers, as for `approximate_gradients`. `None` means the converted
        layers, or all convertible ones of a model without converted layers. Layers
        that get no filter gradient, as frozen ones, have no row.
      loss: The loss, as for `compile`. `None` means what the model was compiled with.
      sample_weight: Weights of the examples, as for `fit`.
      step: The first training step whose random numbers are drawn, from 0.
      draws: At how many steps in turn methods are computed that draw; at least 2.
      repeats: How often each time is measured; 0 measures none, and times are NaN.

    Returns:
      The report; `str` of it is a table.

    Raises:
      TypeError: If an argument has the wrong type.
      ValueError: If the model isn't built, isn't compiled while `loss` is None, or has
        no convertible convolution that trains; or if an argument isn't allowed.
      RuntimeError: If a layer is called in a graph inside the model.
    """
    check_model(model)
    chosen_methods = _parse_methods(methods)
    step = check_integer("step", step, 0, gradient_methods.INT64_MAX)
    draws = check_integer("draws", draws, 2)
    repeats = check_integer("repeats", repeats, 0)
    compute_loss = loss_function(model, loss)
    chosen = _choose_layers(model, layers)
    inputs, targets = _as_tensors("x", x), _as_tensors("y", y)
    weights = _as_tensors("sample_weight", sample_weight)
    training = {i: layer for i, layer in chosen.items() if layer.trainable_weights}
    probes = probe_layers(
        model,
        training,
        lambda: backpropagate(model, inputs, targets, weights, compute_loss),
    )
    found = {
        index: probe
        for index, probe in zip(training, probes, strict=True)
        if probe.calls
    }
    left = [layer.name for index, layer in chosen.items() if index not in found]
    if not found:
        raise ValueError(
            f"model {model.name!r} has no filter gradient to compare: the layers "
            f"{', '.join(left)} are frozen, or no gradient comes to them."
        )
    steps = range(step, step + draws)
    rows = [
        row
        for index, probe in found.items()
        for row in _measure_layer(index, probe, chosen_methods, steps, repeats)
    ]
    return FidelityReport(model.name, tuple(rows), tuple(left))


def _parse_methods(
    methods: MethodLike | Iterable[MethodLike] | None,
) -> list[GradientMethod]:
    if methods is None:
        return list(gradient_methods.defaults())
    if isinstance(methods, GradientMethod | str | dict):
        methods = [methods]
    parsed = map(gradient_methods.get, as_tuple("methods", "gradient methods", methods))
    distinct = list(dict.fromkeys(parsed))
    if not distinct:
        raise ValueError(
            "methods must be None, for all methods, or hold at least one method, "
            f"got {methods!r}"
        )
    return distinct


def _choose_layers(
    model: keras.Model, layers: LayerReference | Iterable[LayerReference] | None
) -> dict[int, keras.layers.Layer]:
    """The layers to measure by layer index."""
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


def _measure_layer(
    index: int,
    probe: Probe,
    methods: Sequence[GradientMethod],
    steps: range,
    repeats: int,
) -> list[FidelityRow]:
    current = tf.Variable(steps[0], dtype=tf.int64, trainable=False)
    read_step = functools.partial(tf.convert_to_tensor, current)

    def draw(method: GradientMethod) -> Iterator[tf.Tensor]:
        for step in steps if method.needs_step else steps[:1]:
            current.assign(step)
            yield probe.gradient(method, read_step)

    (exact,) = draw(FullGradient())
    values = {method: _compare(draw(method), exact) for method in methods}
    ms = _milliseconds(probe, [FullGradient(), *methods], read_step, repeats)
    return [
        FidelityRow(
            layer=probe.layer_name,
            index=index,
            method=method,
            **values[method],
            dense_ms=ms[FullGradient()],
            method_ms=ms[method],
        )
        for method in methods
    ]


def _compare(draws: Iterable[tf.Tensor], exact: tf.Tensor) -> dict[str, float]:
    """The numbers of a row, from one gradient or from several draws of it."""
    reference = _as_float64(exact)
    error_sum, squares, measured = np.zeros_like(reference), 0.0, []
    for gradient in draws:
        error = _as_float64(gradient) - reference
        error_sum += error
        squares += np.sum(error**2)
        measured.append(measures(gradient, exact).numpy())
    cosines, errors, ratios = np.transpose(measured)
    count = len(measured)
    mean_square = np.sum((error_sum / count) ** 2)
    variance = (squares - count * mean_square) / (count - 1) if count > 1 else 0.0
    # Rounding can make either a little less than zero. Unlike max, this keeps a NaN.
    variance = np.maximum(variance, 0.0)
    bias_square = np.maximum(mean_square - variance / count, 0.0)
    norm_square = np.sum(reference**2)
    scale = 0.0 if norm_square == 0 else 1 / norm_square
    return {
        "cosine": float(np.mean(cosines)),
        "relative_error": float(np.sqrt(np.mean(errors**2))),
        "norm_ratio": float(np.mean(ratios)),
        "bias": float(np.sqrt(bias_square * scale)),
        "variance": float(variance * scale),
    }


def _as_float64(gradient: tf.Tensor) -> np.ndarray:
    return tf.cast(gradient, tf.float64).numpy()


def _milliseconds(
    probe: Probe,
    methods: Iterable[GradientMethod],
    read_step: Callable[[], tf.Tensor],
    repeats: int,
) -> dict[GradientMethod, float]:
    """The median time of the layer's filter gradient by each method."""
    distinct = list(dict.fromkeys(methods))
    if not repeats:
        return dict.fromkeys(distinct, math.nan)

    def compiled(method: GradientMethod) -> Callable[[], object]:
        # One element alone is returned, as the gradient itself would take new memory
        # in every call. Reading it waits for a GPU.
        function = tf.function(
            lambda: tf.reshape(probe.gradient(method, read_step), [-1])[0],
            autograph=False,
        ).get_concrete_function()
        return lambda: function().numpy()

    functions = {method: compiled(method) for method in distinct}
    seconds = time_in_turns(functions, repeats)
    return {method: 1e3 * statistics.median(seconds[method]) for method in distinct}
