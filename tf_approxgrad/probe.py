"""What the gradients of a model's layers are made from, on one batch."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.approximate_layer import ApproximateLayer
from tf_approxgrad.assignment import Assignment
from tf_approxgrad.backprop import Backprop, StepReader
from tf_approxgrad.cloning import change_in_place
from tf_approxgrad.comparison import kept_state
from tf_approxgrad.filter_gradient import filter_gradient
from tf_approxgrad.input_gradient import input_gradient
from tf_approxgrad.methods import FullGradient, GradientMethod, ZeroGradient
from tf_approxgrad.model_layers import all_layers, approximate_class
from tf_approxgrad.step_switch import Compute


@dataclasses.dataclass(eq=False)
class Probe(Assignment):
    """Keeps what the filter gradient of a layer is made from, and computes none.

    Attributes:
      calls: What each call of the layer's gradient was made from, and how.
    """

    calls: list[tuple[Backprop, Compute]] = dataclasses.field(default_factory=list)

    def is_exact(self) -> bool:
        return False

    def filter_gradient(
        self, backprop: Backprop, compute: Compute = filter_gradient
    ) -> tf.Tensor:
        self.check_eager()
        self.calls.append((backprop, compute))
        return compute(ZeroGradient(), backprop)

    def gradient(self, method: GradientMethod, read_step: StepReader) -> tf.Tensor:
        """The gradient by a method, summed over the layer's calls."""
        return tf.add_n(self.gradients(method, read_step))

    def gradients(
        self, method: GradientMethod, read_step: StepReader
    ) -> list[tf.Tensor]:
        """The gradient of each of the layer's calls by a method."""
        at_step = dataclasses.replace(self, step=read_step)
        return [
            compute(method, at_step.placed(backprop))
            for backprop, compute in self.calls
        ]

    def check_eager(self) -> None:
        """Refuses to be called where a gradient has no value yet."""
        if not tf.executing_eagerly():
            raise RuntimeError(
                f"layer {self.layer_name!r} is called in a graph inside the model, as "
                "that of a concrete function, where its gradient can't be read: leave "
                "it out with layers=."
            )


@dataclasses.dataclass(eq=False)
class InputProbe(Probe):
    """Keeps what the input gradient of a layer is made from, and makes it exact.

    There are no calls where nobody asks for an input gradient, as at the first layer.
    """

    def makes_input_gradient(self) -> bool:
        return True

    def filter_gradient(
        self, backprop: Backprop, compute: Compute = filter_gradient
    ) -> tf.Tensor:
        return compute(ZeroGradient(), backprop)

    def input_gradient(
        self, backprop: Backprop, compute: Compute = input_gradient
    ) -> tf.Tensor:
        self.check_eager()
        self.calls.append((backprop, compute))
        return compute(FullGradient(), backprop)

    def gradient(self, method: GradientMethod, read_step: StepReader) -> tf.Tensor:
        """The gradients by a method of all the layer's calls, in one vector."""
        gradients = self.gradients(method, read_step)
        return tf.concat([tf.reshape(x, [-1]) for x in gradients], axis=0)


AnyProbe = TypeVar("AnyProbe", bound=Probe)


@contextlib.contextmanager
def probed(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    kind: type[AnyProbe],
) -> Iterator[list[AnyProbe]]:
    """Gives layers a probe each, for backward passes that run meanwhile.

    Plain layers are of this package's classes and converted ones follow no schedule.
    Afterwards the model is what it was before.

    Args:
      model: A built model.
      layers: Convertible layers of it, by layer index.
      kind: The class of the probes.

    Yields:
      A probe for each layer, in order. After a backward pass, one without calls is that
      of a layer through which no gradient came.

    Raises:
      RuntimeError: If a layer is called in a graph.
    """
    probes = {
        id(layer): kind(layer.name, FullGradient(), index=_index(layer, place))
        for place, layer in layers.items()
    }
    # Converted layers that aren't probed may wait for a step that nothing tells them.
    others = {
        id(layer): Assignment(layer.name, FullGradient())
        for layer in all_layers(model)
        if isinstance(layer, ApproximateLayer) and id(layer) not in probes
    }
    assignments = others | probes
    assigned = [layer for layer in all_layers(model) if id(layer) in assignments]
    with (
        _kept_random_states(),
        kept_state(model),
        _following(assigned, [assignments[id(layer)] for layer in assigned]),
        _functions_run_eagerly(),
    ):
        yield list(probes.values())


def _index(layer: keras.layers.Layer, place: int) -> int:
    """The layer index by which a layer draws its random numbers."""
    if isinstance(layer, ApproximateLayer):
        return layer.assignment.index or place
    return place


@contextlib.contextmanager
def _following(
    layers: Sequence[keras.layers.Layer], assignments: Sequence[Assignment]
) -> Iterator[None]:
    """Gives convertible layers an assignment each, and then takes it away."""
    before = [(type(layer), dict(vars(layer))) for layer in layers]
    try:
        change_in_place(layers, [approximate_class(layer) for layer in layers])
        for layer, assignment in zip(layers, assignments, strict=True):
            vars(layer)["_assignment"] = assignment
        yield
    finally:
        for layer, (cls, attributes) in zip(layers, before, strict=True):
            layer.__class__ = cls
            vars(layer).clear()
            vars(layer).update(attributes)


@contextlib.contextmanager
def _kept_random_states() -> Iterator[None]:
    # Keras draws the seeds of new layers' initialisers from Python's generator.
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def _functions_run_eagerly() -> Iterator[None]:
    """Makes a `tf.function` in the model run eagerly, so that probes see tensors."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
