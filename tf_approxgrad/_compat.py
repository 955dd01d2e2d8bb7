"""The private names of TensorFlow and Keras that this package uses.

None has a public counterpart in the supported versions, TensorFlow 2.18 to 2.21 and
Keras 3.12 to 3.15. Where another version lacks a name, the function that needs it
raises an error that names it; most calls of a layer in training need one.
"""

from __future__ import annotations

import importlib
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


def is_recorded(tensor: tf.Tensor) -> bool:
    """Whether any tape records an eager tensor."""
    return bool(_possible_gradient_types([tensor]))


def in_xla_context() -> bool:
    """Whether the graph that is being traced will be compiled by XLA as a whole."""
    return bool(_in_xla_context(tf.compat.v1.get_default_graph()))


def copy_rematerialization(source: Any, target: Any) -> None:
    """Copies the rematerialisation mode, which a layer's constructor sets.

    Since Keras 3.9, which introduced it.
    """
    if hasattr(source, "_remat_mode"):
        target._remat_mode = source._remat_mode


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """The arguments of the last `compile`, which `get_compile_config` only serialises.

    Since Keras 3.0.
    """
    if not hasattr(model, "_compile_config"):
        raise _lacking("keras.Model._compile_config", "compile a copy of a model")
    arguments: dict[str, Any] = model._compile_config.config
    return arguments


def call_signature(layer: keras.layers.Layer) -> dict[str, Any]:
    """The attributes in which a layer's constructor stores the signature of `call`.

    Since Keras 3.0.
    """
    found = {name: x for name, x in vars(layer).items() if name.startswith("_call_")}
    if not found:
        raise _lacking("keras.layers.Layer._call_*", "change the class of a layer")
    return found


def own_attributes(layer: keras.layers.Layer) -> list[Any]:
    """A layer's attributes, without the Functional model inside a Sequential one.

    Since Keras 3.0. That model holds the same layers in another order.
    """
    return [x for name, x in vars(layer).items() if name != "_functional"]
