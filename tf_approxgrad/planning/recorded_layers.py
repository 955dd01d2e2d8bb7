"""Gradients of layers that were recorded in a graph, to time with a minibatch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.observer import RecordedCall

_TENSORS = ("input", "filter_sizes", "out_backprop", "filters")


class RecordedGeometry:
    """The recorded gradients of one layer, which stand for all of its geometry.

    Attributes:
        tensors: Tensors of each call's `GradientInputs`: those of the traced graph,
            then those of a minibatch.
    """

    def __init__(
        self,
        filter_calls: Sequence[RecordedCall],
        input_calls: Sequence[RecordedCall | None],
    ) -> None:
        self._filter_calls, self._input_calls = filter_calls, input_calls
        self.tensors = [
            {name: getattr(call.inputs, name) for name in _TENSORS}
            for call in filter_calls
        ]

    def recorded(self, of_input: bool) -> list[RecordedCall]:
        """The calls, with the tensors of a minibatch."""
        calls: Sequence[RecordedCall | None]
        calls = self._input_calls if of_input else self._filter_calls
        return [
            dataclasses.replace(
                call, inputs=dataclasses.replace(call.inputs, **tensors)
            )
            for call, tensors in zip(calls, self.tensors, strict=True)
            if call is not None
        ]


def is_reachable(call: RecordedCall) -> bool:
    """Whether a call's tensors are those of the graph that is being traced."""
    graph = tf.compat.v1.get_default_graph()
    return call.inputs.out_backprop.graph is graph and call.inputs.input.graph is graph


def needs_input_gradient(call: RecordedCall, weights: Sequence[keras.Variable]) -> bool:
    """Whether a call's input depends on trainable weights.

    In a graph, gradients that nobody needs are recorded like all others.
    """
    handles = {id(weight.value.handle) for weight in weights}
    graph = call.inputs.input.graph
    sources = {inner.op for outer, inner in graph.captures if id(outer) in handles}
    pending, seen = [call.inputs.input.op], set()
    while pending:
        op = pending.pop()
        if op in sources:
            return True
        if op not in seen:
            seen.add(op)
            pending += [tensor.op for tensor in op.inputs]
    return False


def geometry_of(index: int, calls: Sequence[RecordedCall]) -> Any:
    """A key that layers have in common if their gradients take the same time."""
    if any(call.compute is not filter_gradient for call in calls):
        return index
    return tuple(
        (
            tuple(call.inputs.input.shape),
            None if call.inputs.filters is None else tuple(call.inputs.filters.shape),
            tuple(call.inputs.out_backprop.shape),
            call.inputs.arguments,
            call.inputs.input.dtype.name,
        )
        for call in calls
    )
