"""What the filter gradients of a model's layers are made from, on one batch."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_approxgrad.approximate_layer import ApproximateLayer
from tf_approxgrad.assignment import Assignment
from tf_approxgrad.backprop import Backprop, StepReader
from tf_approxgrad.cloning import change_in_place
from tf_approxgrad.comparison import kept_state
from tf_approxgrad.filter_gradient import filter_gradient
from tf_approxgrad.methods import FullGradient, GradientMethod, ZeroGradient
from tf_approxgrad.model_layers import all_layers, approximate_class

Compute = Callable[[GradientMethod, Backprop], tf.Tensor]


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
        if not tf.executing_eagerly():
            raise RuntimeError(
                f"layer {self.layer_name!r} is called in a graph inside the model, as "
                "that of a concrete function, where its gradient can't be read: leave "
                "it out with layers=."
            )
        self.calls.append((backprop, compute))
        return compute(ZeroGradient(), backprop)

    def gradient(self, method: GradientMethod, read_step: StepReader) -> tf.Tensor:
        """The filter gradient by a method, summed over the layer's calls."""
        assignment = Assignment(
            self.layer_name, method, index=self.index, step=read_step
        )
        return tf.add_n([assignment.filter_gradient(*call) for call in self.calls])


def probe_layers(
    model: keras.Model,
    layers: Mapping[int, keras.layers.Layer],
    backpropagate: Callable[[], None],
) -> list[Probe]:
    """Runs a backward pass and returns what the layers' gradients are made from.

    While it runs, plain layers are of this package's classes and converted ones follow
    no schedule. Afterwards the model is what it was before.

    Args:
      model: A built model.
      layers: Convertible layers of it, by layer index.
      backpropagate: Runs the forward and the backward pass.

    Returns:
      A probe for each layer, in order. One without calls is that of a layer through
      which no gradient came.

    Raises:
      RuntimeError: If a layer is called in a graph.
    """
    probes = {
        id(layer): Probe(layer.name, FullGradient(), index=_index(layer, place))
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
        backpropagate()
    return list(probes.values())


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
