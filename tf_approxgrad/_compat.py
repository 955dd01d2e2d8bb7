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


def is_recorded(tensor: tf.Tensor) -> bool:
    """Whether any tape records an eager tensor."""
    return bool(_possible_gradient_types([tensor]))


def in_xla_context() -> bool:
    """Whether the graph that is being traced will be compiled by XLA as a whole."""
    return bool(_in_xla_context(tf.compat.v1.get_default_graph()))


def read_call_signature(layer: keras.layers.Layer) -> None:
    """Reads the signature of `call` again, which a layer's constructor reads.

    Since Keras 3.0; other arguments than `training` are passed on since Keras 3.12.
    """
    attributes = vars(layer)
    if "_call_has_training_arg" not in attributes:
        raise _lacking(
            "keras.layers.Layer._call_has_training_arg", "change a layer's class"
        )
    signature = inspect.signature(layer.call)
    names = list(signature.parameters)
    passed = attributes.get("_call_context_args", {"training"})
    attributes.update(
        _call_signature=signature,
        call_signature_parameters=names,
        _call_has_training_arg="training" in names,
        _call_has_mask_arg="mask" in names,
        _call_has_context_arg={name: name in names for name in passed},
    )


def own_attributes(layer: keras.layers.Layer, types: tuple[type, ...]) -> list[Any]:
    """A layer's attributes of some types, without the Functional model in a Sequential.

    Since Keras 3.0. That model holds the same layers in another order.
    """
    return [
        value
        for name, value in vars(layer).items()
        if isinstance(value, types) and name != "_functional"
    ]


class SavedWithMore:
    """Base class of layers with which SavedModel files hold other variables, too.

    TensorFlow refuses to save a function that reads a variable that no saved object
    has. Since TensorFlow 2.5; without the method, such variables are the user's to
    save.
    """

    def saved_variables(self) -> dict[str, Any]:
        """The other variables, by names for the file."""
        raise NotImplementedError

    def _trackable_children(
        self, save_type: str = "checkpoint", **kwargs: Any
    ) -> dict[str, Any]:
        children: dict[str, Any] = super()._trackable_children(save_type, **kwargs)  # type: ignore[misc]
        more = self.saved_variables() if save_type == "savedmodel" else {}
        return {**children, **more}


def keep_gradients_in_vectorized_map(
    attach: Callable[[str, list[tf.Tensor]], tf.Tensor | None],
) -> None:
    """Lets `tf.vectorized_map` keep the gradients of `IdentityN` operations.

    It converts each operation of its function to one for all elements, and drops
    gradients that are set on an operation. Since TensorFlow 2.3; where a version lacks
    the names, such gradients stay TensorFlow's own.

    Args:
        attach: Called as `attach(name, tensors)` with the name of the operation's
            gradient and its inputs, all elements joined along the batch axis. Returns
            the first one with its gradient, or `None` for a gradient of others.
    """
    try:
        module = importlib.import_module("tensorflow.python.ops.parallel_for.pfor")
        registry = module._pfor_converter_registry
        original, wrap = registry["IdentityN"], module.wrap
    except (ImportError, AttributeError, KeyError):
        return

    def convert(pfor_input: Any) -> Any:
        converted = original(pfor_input)
        try:
            name = pfor_input.op.get_attr("_gradient_op_type").decode()
        except ValueError:
            return converted
        first, second, *others = pfor_input.inputs
        if any(x.is_stacked for x in others) or first.is_stacked != second.is_stacked:
            return converted
        tensors = [x.t for x in pfor_input.inputs]
        if first.is_stacked:
            tensors[:2] = [
                tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))
                for x in tensors[:2]
            ]
        result = attach(name, tensors)
        if result is None:
            return converted
        if first.is_stacked:
            result = tf.reshape(result, tf.shape(first.t))
        return [wrap(result, first.is_stacked), *converted[1:]]

    registry["IdentityN"] = convert
