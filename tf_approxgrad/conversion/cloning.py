"""Replacement of layer classes, in a copy of a model or in place."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad import _compat
from tf_approxgrad.conversion.traversal import all_layers, is_model_of_keras
from tf_approxgrad.layers.base import ApproximateLayer
from tf_approxgrad.methods import FullGradient

LayerClass = type[keras.layers.Layer]


def with_classes(model: keras.Model, classes: Mapping[int, LayerClass]) -> keras.Model:
    """Returns a model like `model` with some layers' classes replaced.

    Args:
        model: A built model. It is copied if it and its nested models are Sequential or
            Functional models and its layers can be made from their configurations.
            Otherwise it is changed in place and returned.
        classes: New classes, by the `id` of the layer.

    Returns:
        A model of the same weights, layer names, outputs and compilation.
    """
    # Keras' copy of a model of a user's class lacks the methods of that class.
    if all(map(is_model_of_keras, _models(model))):
        try:
            return _copy(model, classes)
        # Keras raises many types of error for layers that it can't reconstruct.
        except Exception as error:
            warnings.warn(
                f"Keras can't copy model {model.name!r} ({_first_line(error)}); it is "
                "converted in place.",
                stacklevel=3,
            )
    change_in_place(all_layers(model), [classes.get(id(x)) for x in all_layers(model)])
    for part in _models(model):
        if part.compiled and part.train_function is not None:
            # It was traced with the layers' former classes.
            part.make_train_function(force=True)
    return model


def _models(model: keras.Model) -> list[keras.Model]:
    return [x for x in [model, *all_layers(model)] if isinstance(x, keras.Model)]


def _copy(model: keras.Model, classes: Mapping[int, LayerClass]) -> keras.Model:
    # Keras calls this for layers and for the operations between them.
    def clone_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        cls = classes.get(id(layer), type(layer))
        copy = cls.from_config(_config_for(layer, cls))
        _compat.copy_rematerialization(layer, copy)
        return copy

    with model.distribute_strategy.scope(), _uncompiled(model):
        clone = keras.models.clone_model(
            model, clone_function=clone_layer, recursive=True
        )
    # Models may share input layers; in the copy each has its own.
    old, new = _layers_but_inputs(model), _layers_but_inputs(clone)
    # Layers inside a user-defined layer were copied by that layer.
    change_in_place(new, [classes.get(id(layer)) for layer in old])
    _copy_state([model, *old], [clone, *new])
    _copy_compilation(model, clone)
    return clone


def _layers_but_inputs(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in all_layers(model) if not _is_input(layer)]


def _is_input(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


@contextlib.contextmanager
def _uncompiled(model: keras.Model) -> Iterator[None]:
    """Keeps Keras from compiling the copy, which fails for user-defined losses."""
    compiled = [part for part in _models(model) if part.compiled]
    for part in compiled:
        part.compiled = False
    try:
        yield
    finally:
        for part in compiled:
            part.compiled = True


def _config_for(layer: keras.layers.Layer, cls: LayerClass) -> dict[str, Any]:
    config: dict[str, Any] = layer.get_config()
    if isinstance(layer, ApproximateLayer) and not issubclass(cls, ApproximateLayer):
        for name in ApproximateLayer.OWN_ARGUMENTS:
            config.pop(name, None)
    elif issubclass(cls, ApproximateLayer) and not isinstance(layer, ApproximateLayer):
        # Until a schedule is set.
        config["method"] = FullGradient()
    return config


def change_in_place(
    layers: Sequence[keras.layers.Layer], classes: Sequence[LayerClass | None]
) -> None:
    """Changes the classes of layers in place.

    Their variables stay the same objects, so that optimizers keep their slots.
    """
    for layer, cls in zip(layers, classes, strict=True):
        if cls is None or type(layer) is cls:
            continue
        fresh = cls.from_config(_config_for(layer, cls))
        layer.__class__ = cls
        layer.supports_jit = fresh.supports_jit
        # Keras reads the signature of `call` once, in the constructor.
        attributes: dict[str, Any] = layer.__dict__
        attributes.pop("_gradient_policy", None)
        attributes.update(_compat.call_signature(fresh))
        if isinstance(fresh, ApproximateLayer):
            attributes["_gradient_policy"] = fresh.gradient_policy


def _copy_state(
    old: Sequence[keras.layers.Layer], new: Sequence[keras.layers.Layer]
) -> None:
    """Copies names, variables, dtype policies, `trainable` and rematerialisation.

    Owners come before the layers in them, so that an owner's setting doesn't overwrite
    that of a layer.

    Raises:
        ValueError: If the copy differs from the original.
    """
    for source, target in zip(old, new, strict=True):
        # User-defined layers may omit their name from their configuration.
        target.name = source.name
        if isinstance(target, keras.Model):
            # A model has no variables of its own, so its policy can be set afterwards.
            target.dtype_policy = source.dtype_policy
            inputs = (filter(_is_input, part.layers) for part in (source, target))
            for layer, copied_layer in zip(*inputs, strict=True):
                copied_layer.name = layer.name
        elif target.dtype_policy != source.dtype_policy:
            raise ValueError(
                f"the copy of layer {source.name!r} has the dtype policy "
                f"{target.dtype_policy.name!r} instead of {source.dtype_policy.name!r}"
            )
        if target.trainable != source.trainable:
            target.trainable = source.trainable
        _compat.copy_rematerialization(source, target)
    copied: set[int] = set()
    for source, target in zip(old, new, strict=True):
        pairs = list(zip(source.variables, target.variables, strict=True))
        for variable, copy in pairs:
            if id(variable) in copied:
                continue
            copied.add(id(variable))
            copy.assign(variable)
            if copy.trainable != variable.trainable:
                copy.trainable = variable.trainable


def _copy_compilation(model: keras.Model, clone: keras.Model) -> None:
    if not model.compiled:
        return
    try:
        # The objects themselves: user-defined losses often lack a configuration, and
        # can be shared as they have no state.
        arguments = {
            name: keras.tree.map_structure(_without_state, argument)
            for name, argument in _compat.compile_arguments(model).items()
        }
        if arguments["jit_compile"] and tf.config.list_physical_devices("GPU"):
            # Keras has resolved "auto", which depends on the model's layers.
            arguments["jit_compile"] = "auto"
        # Not the argument, which Keras may have wrapped for loss scaling.
        arguments["optimizer"] = _copy_of(model.optimizer)
        clone.compile(**arguments, auto_scale_loss=False)
    except Exception as error:
        clone.compiled = False
        warnings.warn(
            f"model {model.name!r} was compiled with something that can't be copied "
            f"({error}); call compile on the converted model.",
            stacklevel=4,
        )
        return
    _copy_optimizer_state(model, clone)


def _without_state(argument: Any) -> Any:
    return (
        _copy_of(argument) if isinstance(argument, keras.metrics.Metric) else argument
    )


def _copy_of(value: Any) -> Any:
    return None if value is None else type(value).from_config(value.get_config())


def _copy_optimizer_state(model: keras.Model, clone: keras.Model) -> None:
    if model.optimizer is None or not model.optimizer.built:
        return
    with model.distribute_strategy.scope():
        clone.optimizer.build(clone.trainable_variables)
    old, new = model.optimizer.variables, clone.optimizer.variables
    if [x.shape for x in old] != [x.shape for x in new]:
        warnings.warn(
            f"the optimizer of model {model.name!r} was built for other variables than "
            "those that are trainable now; the converted model's starts afresh.",
            stacklevel=5,
        )
        return
    for source, target in zip(old, new, strict=True):
        target.assign(source)


def _first_line(error: Exception) -> str:
    # Keras' messages contain whole configurations.
    return str(error).partition("\n")[0]
