"""Attachment of a gradient to a tensor that is computed already."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_approxgrad import _compat

# Called with the gradient of the first tensor, and the tensors.
Gradients = Callable[..., Sequence[tf.Tensor | None]]

_numbers = itertools.count()
# By the names that TensorFlow's registry knows them by, which it keeps for good, too.
_registered: dict[str, Gradients] = {}


def attach_gradient(tensors: Sequence[tf.Tensor], gradients: Gradients) -> tf.Tensor:
    """The first tensor, with the given function as its gradient.

    Like `tf.custom_gradient`, and right in three more places. In a conditional within
    another conditional or loop, TensorFlow differentiates copies of its graphs: the
    function is called with the tensors of the copy. In `tf.vectorized_map` the gradient
    is kept. For a `tf.autodiff.ForwardAccumulator` the derivative is that of the
    computation of the first tensor.

    Args:
        tensors: Tensors to compute the gradients from. Gradients flow to these only.
        gradients: Called as `gradients(out_backprop, *tensors)` in the backward pass.
            Returns the gradients of the tensors, or `None`.
    """
    tensors = list(tensors)

    def of_tape(out_backprop: tf.Tensor, *unused: Any) -> list[tf.Tensor | None]:
        return list(gradients(out_backprop, *tensors))

    if tf.executing_eagerly():
        results = [tf.identity(tensors[0])]
    else:
        name = f"ApproxGradient{next(_numbers)}"
        # TensorFlow's registry keeps the function for good, but needn't keep the graph.
        references = [weakref.ref(tensor) for tensor in tensors]
        _registered[name] = gradients

        @tf.RegisterGradient(name)
        def of_op(op: Any, out_backprop: tf.Tensor, *unused: Any) -> Any:
            # SavedModel traces the function for no operation.
            used = [ref() for ref in references] if op is None else op.inputs
            return list(gradients(out_backprop, *used))

        graph = tf.compat.v1.get_default_graph()
        with graph.gradient_override_map({"IdentityN": name}):
            results = tf.raw_ops.IdentityN(input=tensors)
    _compat.record_backward_pass("ApproxGradient", results, tensors, of_tape)
    return results[0]


def _attach_registered(name: str, tensors: list[tf.Tensor]) -> tf.Tensor | None:
    gradients = _registered.get(name)
    return None if gradients is None else attach_gradient(tensors, gradients)


_compat.keep_gradients_in_vectorized_map(_attach_registered)
