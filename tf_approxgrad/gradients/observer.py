"""Recording of the gradients in a backward pass, to compare methods afterwards."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_approxgrad.gradients.inputs import GradientFunction, GradientInputs
from tf_approxgrad.methods import FullGradient, GradientMethod


@dataclasses.dataclass(frozen=True)
class RecordedCall:
    """One gradient of one call of a layer, computable by any method afterwards.

    Attributes:
        inputs: Inputs of the gradient.
        compute: Computes the gradient by one method.
    """

    inputs: GradientInputs
    compute: GradientFunction

    def gradient(
        self, method: GradientMethod, step: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The gradient by a method, at the recorded step unless another is given."""
        inputs = self.inputs
        if step is not None:
            inputs = dataclasses.replace(inputs, step=step)
        return self.compute(method, inputs)


def summed_gradient(
    calls: Sequence[RecordedCall], method: GradientMethod, step: tf.Tensor
) -> tf.Tensor:
    """The filter gradient of a layer by a method: the sum over its calls."""
    return tf.add_n([call.gradient(method, step) for call in calls])


class Observer:
    """Computes the gradients of layers in place of their policies, and records them.

    Layers are identified by their policies. Within a `tf.function`, the tensors
    recorded are those of its graph.

    Args:
        policies: Policies of the layers to record; `None` means all. Other layers'
            gradients are exact.
        filter_method: Method of the observed filter gradients; `None` means exact.
        eager: Whether to raise if a layer is called in a graph, where tensors have no
            values.

    Attributes:
        input_method: Method of the observed input gradients.
        step: Step of the input gradients; `None` means the layers' own.
        filter_calls, input_calls: Recorded gradients, by policy.
    """

    def __init__(
        self,
        policies: Collection[Any] | None = None,
        *,
        filter_method: GradientMethod | None = None,
        eager: bool = False,
    ) -> None:
        self.input_method: GradientMethod = FullGradient()
        self.step: tf.Tensor | None = None
        self.filter_calls: dict[Any, list[RecordedCall]] = defaultdict(list)
        self.input_calls: dict[Any, list[RecordedCall]] = defaultdict(list)
        self._policies = policies
        self._filter_method = filter_method or FullGradient()
        self._eager = eager

    def intercepts(self, policy: Any) -> bool:
        """Whether the observer computes a layer's gradients.

        A graph outlives the observation, so that within one a layer that isn't recorded
        keeps its own gradients.
        """
        return self._records(policy) or tf.executing_eagerly()

    def filter_gradient(
        self, policy: Any, inputs: GradientInputs, compute: GradientFunction
    ) -> tf.Tensor:
        """Records a filter gradient, and computes it by `filter_method`."""
        if not self._records(policy):
            return compute(FullGradient(), inputs)
        call = self._record(self.filter_calls, policy, inputs, compute)
        return call.gradient(self._filter_method)

    def input_gradient(
        self, policy: Any, inputs: GradientInputs, compute: GradientFunction
    ) -> tf.Tensor:
        """Records an input gradient, and computes it by `input_method`."""
        if not self._records(policy):
            return compute(FullGradient(), inputs)
        call = self._record(self.input_calls, policy, inputs, compute)
        return call.gradient(self.input_method, self.step)

    def _records(self, policy: Any) -> bool:
        return self._policies is None or policy in self._policies

    def _record(
        self,
        calls: dict[Any, list[RecordedCall]],
        policy: Any,
        inputs: GradientInputs,
        compute: GradientFunction,
    ) -> RecordedCall:
        if self._eager and not tf.executing_eagerly():
            raise RuntimeError(
                f"layer {policy.layer_name!r} is called in a graph inside the model, "
                "as that of a concrete function, where its gradient can't be read: "
                "leave it out with layers=."
            )
        call = RecordedCall(inputs, compute)
        calls[policy].append(call)
        return call


_current: contextvars.ContextVar[Observer | None] = contextvars.ContextVar(
    "tf_approxgrad_observer", default=None
)


def current_observer() -> Observer | None:
    """The observer of the running backward pass, or `None` in training."""
    return _current.get()


@contextlib.contextmanager
def observed_by(observer: Observer) -> Iterator[Observer]:
    """Lets an observer compute the gradients of all approximate layers."""
    token = _current.set(observer)
    try:
        yield observer
    finally:
        _current.reset(token)
