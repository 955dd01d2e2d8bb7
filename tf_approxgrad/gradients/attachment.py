"""Attachment of a gradient to an output that is computed already."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_approxgrad import _compat

# Called as `gradients(out_backprop, inputs)`. Returns the gradient of each input, or
# `None`.
Gradients = Callable[[tf.Tensor, Sequence[tf.Tensor]], Sequence[tf.Tensor | None]]


# By name, as in TensorFlow's registry, which keeps what is registered for good, too.
_registered: dict[str, Gradients] = {}
_numbers = itertools.count()


def attach_gradient(
    output: tf.Tensor, inputs: Sequence[tf.Tensor], gradients: Gradients
) -> tf.Tensor:
    """The output, with the given function as its gradient.

    Like `tf.custom_gradient`, and right in three more places. In a conditional within
    another conditional or loop, TensorFlow differentiates copies of its graphs: the
    function gets the inputs of the copy. `tf.vectorized_map` keeps the gradient. For a
    `tf.autodiff.ForwardAccumulator` the derivative is that of the output's computation.

    Args:
        output: The output, computed by differentiable ops.
        inputs: Tensors that gradients flow to, and others that `gradients` needs.
        gradients: Computes the gradients of the inputs; fewer than inputs leave the
            last ones without.

    Returns:
        A tensor equal to `output`.
    """
    tensors = [output, *inputs]
    if tf.executing_eagerly():
        results = [tf.identity(output)]
    else:
        name = _register(gradients, tensors)
        graph = tf.compat.v1.get_default_graph()
        with graph.gradient_override_map({"IdentityN": name}):
            results = tf.raw_ops.IdentityN(input=tensors)
    _compat.record_backward_pass(
        "ApproxGradient",
        results,
        tensors,
        lambda out_backprop, *_: _for_all(gradients, out_backprop, tensors),
    )
    return results[0]


def gradients_named(name: str) -> Gradients | None:
    """The gradients of an operation by their registered name; `None` if of others."""
    return _registered.get(name)


def _register(gradients: Gradients, tensors: list[tf.Tensor]) -> str:
    name = f"ApproxGradient{next(_numbers)}"
    _registered[name] = gradients

    @tf.RegisterGradient(name)
    def gradients_of(operation: Any, out_backprop: tf.Tensor, *_: Any) -> Any:
        # SavedModel traces the function without an operation.
        used = tensors if operation is None else operation.inputs
        return _for_all(gradients, out_backprop, used)

    return name


def _for_all(
    gradients: Gradients, out_backprop: tf.Tensor, tensors: Sequence[tf.Tensor]
) -> list[tf.Tensor | None]:
    found = gradients(out_backprop, tensors[1:])
    return [None, *found, *[None] * (len(tensors) - 1 - len(found))]
