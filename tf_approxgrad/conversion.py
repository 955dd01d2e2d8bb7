"""Converts a model that the user has, and back."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tf_approxgrad.binding import assign_schedule
from tf_approxgrad.layers import ApproxConv2D
from tf_approxgrad.model_layers import (
    all_layers,
    approximated_layers,
    convertible_layers,
    reason_not_convertible,
)
from tf_approxgrad.schedules import Schedule

# What ApproxConv2D's configuration has beyond that of Conv2D.
_OWN_ARGUMENTS = ("method", "schedule", "layer_index")


def approximate_gradients(model: keras.Model, schedule: Schedule) -> keras.Model:
    """Converts a model's convolutions to `ApproxConv2D` under `schedule`.

    The result has the same weights, layer names and outputs. If the model was
    compiled, the result is compiled alike, optimizer state included. Sequential and
    Functional models are copied and stay as they are; a subclassed model, which Keras
    can't copy, is converted in place and returned.

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate(tfag.MaxGradient()))
    >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))

    Args:
      model: A built Keras model with at least one `keras.layers.Conv2D`.
      schedule: Which method each convolution uses at each step. Layer indices count the
        convertible convolutions in the model's layer order, from 1.

    Returns:
      The converted model. Train it with `ApproximationCallback`, or call `bind_step`.

    Raises:
      TypeError: If an argument has the wrong type.
      ValueError: If the model isn't built or has no convertible convolution, or if
        the schedule doesn't fit it.
    """
    _check_model(model)
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule={schedule!r} must be a tf_approxgrad.Schedule, for example "
            "EveryNthLayer(MaxGradient())."
        )
    layers = convertible_layers(model)
    if not layers:
        raise ValueError(
            f"model {model.name!r} has no convolution that can be approximated.\n"
            f"{conversion_report(model)}"
        )
    # Before any work, so that a schedule that doesn't fit changes nothing.
    schedule.resolve(layers)
    converted = _convert(model, convertible_layers, ApproxConv2D)
    assign_schedule(approximated_layers(converted), schedule)
    return converted


def strip_approximation(model: keras.Model) -> keras.Model:
    """Turns a converted model into one of plain `keras.layers.Conv2D` again.

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    >>> model = tfag.strip_approximation(model)
    >>> tfag.conversion_report(model).converted
    []

    Args:
      model: A model that `approximate_gradients` returned. One without `ApproxConv2D`
        layers is returned as it is.

    Returns:
      A model of the same weights, layer names and outputs, copied or converted in
      place as by `approximate_gradients`.
    """
    _check_model(model)
    if not approximated_layers(model):
        return model
    return _convert(model, approximated_layers, keras.layers.Conv2D)


@dataclasses.dataclass(frozen=True)
class ReportRow:
    """One convolution of a model.

    Attributes:
      name: The layer's name.
      kind: The name of its class.
      index: Its layer index, from 1, or `None` if it can't be converted.
      converted: Whether it is an `ApproxConv2D`.
      note: Why it isn't converted, or its methods if it is.
    """

    name: str
    kind: str
    index: int | None
    converted: bool
    note: str


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """Which convolutions of a model were converted, which not and why."""

    rows: tuple[ReportRow, ...]

    @property
    def converted(self) -> list[str]:
        """Names of the converted layers."""
        return [row.name for row in self.rows if row.converted]

    @property
    def skipped(self) -> dict[str, str]:
        """Reasons by name, for the layers that can't be converted."""
        return {row.name: row.note for row in self.rows if row.index is None}

    def __str__(self) -> str:
        cells = [("layer", "kind", "index", "converted", "method or reason")] + [
            (
                row.name,
                row.kind,
                "-" if row.index is None else str(row.index),
                "yes" if row.converted else "no",
                row.note,
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in cells
        )


def conversion_report(model: keras.Model) -> ConversionReport:
    """Lists the convolutions of a model, converted or not, and why not.

    >>> import tf_approxgrad as tfag
    >>> model = tfag.models.cnn2(input_shape=(28, 28, 1))
    >>> model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    >>> print(tfag.conversion_report(model))
    layer  kind          index  converted  method or reason
    conv1  ApproxConv2D  1      yes        full
    conv2  ApproxConv2D  2      yes        full, max

    Args:
      model: Any Keras model.

    Returns:
      The report; `str` of it is a table.
    """
    indices = {id(layer): i for i, layer in enumerate(convertible_layers(model), 1)}
    return ConversionReport(
        tuple(
            _report_row(layer, indices.get(id(layer)))
            for layer in all_layers(model)
            if "Conv" in type(layer).__name__ or id(layer) in indices
        )
    )


def _report_row(layer: keras.layers.Layer, index: int | None) -> ReportRow:
    converted = isinstance(layer, ApproxConv2D)
    if converted:
        methods = dict.fromkeys(method.label for method in layer.assignment.row())
        note = ", ".join(methods)
    else:
        note = reason_not_convertible(layer) or "not converted yet"
    return ReportRow(layer.name, type(layer).__qualname__, index, converted, note)


def _check_model(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={model!r} must be a keras.Model.")
    if not model.built:
        raise ValueError(
            f"model {model.name!r} isn't built, so its layers aren't known: call it on "
            "a batch, or model.build(input_shape), first."
        )


def _convert(
    model: keras.Model,
    select: Callable[[keras.Model], Sequence[keras.layers.Layer]],
    target: type[keras.layers.Layer],
) -> keras.Model:
    """Makes the layers that `select` finds instances of `target`."""
    selected = {id(layer) for layer in select(model)}
    if not _is_cloneable(model):
        for layer in select(model):
            _convert_in_place(layer, target)
        if model.compiled:
            model.make_train_function(force=True)
        return model

    def clone_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        cls = target if id(layer) in selected else type(layer)
        copy = cls.from_config(_config_for(layer, cls))
        # Layers of a user's own may leave their name out of their configuration.
        copy.name = layer.name
        return copy

    clone = keras.models.clone_model(model, clone_function=clone_layer, recursive=True)
    # Layers inside a layer of the user's own were copied by that layer.
    for layer in select(clone):
        _convert_in_place(layer, target)
    _copy_variables(model, clone)
    _copy_compilation(model, clone)
    return clone


def _is_cloneable(model: keras.Model) -> bool:
    # The class of functional models has no public name; they list their operations.
    return isinstance(model, keras.Sequential) or hasattr(model, "operations")


def _config_for(
    layer: keras.layers.Layer, cls: type[keras.layers.Layer]
) -> dict[str, Any]:
    config = layer.get_config()
    if cls is keras.layers.Conv2D:
        for name in _OWN_ARGUMENTS:
            config.pop(name, None)
    return config


def _convert_in_place(
    layer: keras.layers.Layer, target: type[keras.layers.Layer]
) -> None:
    """Changes the class of a layer that can't be replaced in its owner.

    Its variables stay the same objects, so that optimizers keep their slots.
    """
    if type(layer) is target:
        return
    fresh = target.from_config(_config_for(layer, target))
    layer.__class__ = target
    layer.supports_jit = fresh.supports_jit
    # Keras reads the signature of `call` once, in the constructor.
    attributes: dict[str, Any] = layer.__dict__
    attributes.pop("_assignment", None)
    for name, value in vars(fresh).items():
        if name.startswith("_call_") or name == "_assignment":
            attributes[name] = value


def _copy_variables(model: keras.Model, clone: keras.Model) -> None:
    """Copies weights and the state of random seeds, layer by layer."""
    for source, target in zip(all_layers(model), all_layers(clone), strict=True):
        for old, new in zip(source.variables, target.variables, strict=True):
            new.assign(old)


def _copy_compilation(model: keras.Model, clone: keras.Model) -> None:
    if not model.compiled:
        return
    try:
        clone.compile_from_config(model.get_compile_config())
    except (TypeError, ValueError) as error:
        warnings.warn(
            f"model {model.name!r} was compiled with something that Keras can't copy "
            f"({error}); call compile on the converted model.",
            stacklevel=3,
        )
        return
    optimizer = model.optimizer
    if optimizer is not None and optimizer.built:
        clone.optimizer.build(clone.trainable_variables)
        for old, new in zip(
            optimizer.variables, clone.optimizer.variables, strict=True
        ):
            new.assign(old)
