"""The private names of TensorFlow and Keras that this package uses.

None has a public counterpart in the supported versions, TensorFlow 2.18 to 2.21 and
Keras 3.12 to 3.15. Where another version lacks a name, the function that needs it
raises an error that names it; most calls of a layer in training need one.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def _lacking(name: str, purpose: str) -> NotImplementedError:
    return NotImplementedError(
        f"tf_approxgrad needs the private name {name} to {purpose}, and TensorFlow "
        f"{tf.version.VERSION} with Keras {keras.__version__} has none: take a version "
        "that tf_approxgrad supports."
    )


def _function(module: str, name: str, purpose: str) -> Callable[..., Any]:
    """A private function, or one that raises if this version lacks it."""
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):

        def function(*args: Any, **kwargs: Any) -> Any:
            raise _lacking(f"{module}.{name}", purpose)

    return function


# tf.GradientTape covers one tape only. Since TensorFlow 2.1; 0 means none.
_possible_gradient_types = _function(
    "tensorflow.python.ops.gradients_util",
    "PossibleTapeGradientTypes",
    "skip input gradients that aren't used",
)
# The test that tf.cond and tf.switch_case use. Since TensorFlow 1.14.
_in_xla_context = _function(
    "tensorflow.python.ops.control_flow_util",
    "GraphOrParentsInXlaContext",
    "choose ops that XLA can compile",
)
# True inside tf.recompute_grad and tf.stop_recording. Since TensorFlow 2.0.
recording_is_stopped = _function(
    "tensorflow.python.pywrap_tfe",
    "TFE_Py_TapeSetIsStopped",
    "find out whether a layer is rematerialised",
)
# Whether any tape records. Since TensorFlow 2.0.
recording_is_possible = _function(
    "tensorflow.python.eager.record",
    "could_possibly_record",
    "find out whether a layer is rematerialised",
)
# tf.custom_gradient, of which it is a part, can't use the tensors of a copied graph.
# Since TensorFlow 2.13.
record_backward_pass = _function(
    "tensorflow.python.eager.record",
    "record_operation_backprop_only",
    "replace the gradient of a convolution",
)

# The generator of keras.random functions without a seed has no public name. Since Keras
# 3.0.
_get_global, _set_global = (
    _function(
        "keras.src.backend.common.global_state",
        f"{verb}_global_attribute",
        "leave random numbers as they are",
    )
    for verb in ("get", "set")
)


def global_seed_generator() -> Any:
    """Keras' global seed generator; `None` if nobody has drawn from it."""
    return _get_global("global_seed_generator")


def forget_global_seed_generator() -> None:
    """Lets the next draw make Keras' global seed generator, as the first one does."""
    _set_global("global_seed_generator", None)


def is_recorded(tensor: tf.Tensor) -> bool:
    """Whether any tape records an eager tensor."""
    return bool(_possible_gradient_types([tensor]))


def in_xla_context() -> bool:
    """Whether the graph that is being traced will be compiled by XLA as a whole."""
    return bool(_in_xla_context(tf.compat.v1.get_default_graph()))


def call_attributes(
    layer: keras.layers.Layer, cls: type[keras.layers.Layer] | None = None
) -> dict[str, Any]:
    """What a layer's constructor reads from the signature of `call`.

    Since Keras 3.0; other arguments than `training` are passed on since Keras 3.12.

    Args:
        layer: A layer.
        cls: The class whose `call` to read; `None` for the layer's present attributes.
    """
    names = (
        "_call_signature",
        "call_signature_parameters",
        "_call_has_training_arg",
        "_call_has_mask_arg",
        "_call_has_context_arg",
    )
    missing = [name for name in names if name not in vars(layer)]
    if missing:
        raise _lacking(f"keras.layers.Layer.{missing[0]}", "change a layer's class")
    if cls is None:
        return {name: vars(layer)[name] for name in names}
    signature = inspect.signature(cls.call)
    signature = signature.replace(parameters=[*signature.parameters.values()][1:])
    arguments = list(signature.parameters)
    values = (
        signature,
        arguments,
        "training" in arguments,
        "mask" in arguments,
        {name: name in arguments for name in vars(layer)["_call_has_context_arg"]},
    )
    return dict(zip(names, values, strict=True))


def own_attributes(layer: keras.layers.Layer, types: tuple[type, ...]) -> list[Any]:
    """A layer's attributes of some types, without the Functional model in a Sequential.

    Since Keras 3.0. That model holds the same layers in another order.
    """
    return [
        value
        for name, value in vars(layer).items()
        if isinstance(value, types) and name != "_functional"
    ]


class SavesUntracked:
    """Base class of layers that SavedModel files hold untracked variables of.

    TensorFlow refuses to save a function that reads a variable that no saved object
    tracks. Since TensorFlow 2.5; without the method, such variables are the user's to
    track.
    """

    def untracked_variables(self) -> dict[str, Any]:
        """Variables that the layer reads and doesn't own, by names for the file."""
        raise NotImplementedError

    def _trackable_children(
        self, save_type: str = "checkpoint", **kwargs: Any
    ) -> dict[str, Any]:
        children: dict[str, Any] = super()._trackable_children(save_type, **kwargs)  # type: ignore[misc]
        if save_type != "savedmodel":
            return children
        return {**children, **self.untracked_variables()}


def convert_identity_n(
    convert: Callable[[str, list[tf.Tensor], list[bool]], tf.Tensor | None],
) -> None:
    """Replaces how `tf.vectorized_map` converts `IdentityN` with a gradient of its own.

    Since TensorFlow 2.3; where a version lacks the names, gradients are TensorFlow's.

    Args:
        convert: Called with the gradient's name, the converted inputs, and whether each
            has an axis of the elements. Returns the first output, which has one if the
            first input has, or `None` to leave the conversion to TensorFlow.
    """
    try:
        module = importlib.import_module("tensorflow.python.ops.parallel_for.pfor")
        registry = module._pfor_converter_registry
        original, wrap = registry["IdentityN"], module.wrap
    except (ImportError, AttributeError, KeyError):
        return

    def converter(pfor_input: Any) -> Any:
        try:
            name = pfor_input.op.get_attr("_gradient_op_type").decode()
        except ValueError:
            return original(pfor_input)
        inputs = pfor_input.inputs
        result = convert(name, [x.t for x in inputs], [x.is_stacked for x in inputs])
        converted = original(pfor_input)
        if result is None:
            return converted
        return [wrap(result, inputs[0].is_stacked), *converted[1:]]

    registry["IdentityN"] = converter
