"""A method that records when it runs, and computes zeros."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

import tf_approxgrad as tfag
from tf_approxgrad.gradients.filter_gradient import GradientInputs, filter_gradient

# The names and layer indices of the methods that ran, in order.
RAN: list[tuple[str, int]] = []


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class Recording(tfag.GradientMethod):
    """Computes zeros, and appends its tag and the layer's index to `RAN`."""

    tag: str = "approximate"

    name = "recording"


@filter_gradient.register
def _record(method: Recording, backprop: GradientInputs) -> tf.Tensor:
    sizes = tuple(int(size) for size in tf.get_static_value(backprop.filter_sizes))

    def run() -> Any:
        RAN.append((method.tag, backprop.layer))
        return tf.zeros(sizes, backprop.input.dtype)

    zeros = tf.py_function(run, [], backprop.input.dtype)
    return tf.ensure_shape(zeros, sizes)


def switches(graph: tf.Graph) -> list[tf.Operation]:
    """All conditionals of a graph and of the functions that it calls."""
    kinds = {"Case", "StatelessCase", "If", "StatelessIf", "Switch", "_SwitchN"}
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes.extend(function.node_def)
    return [node for node in nodes if node.op in kinds]


def operations(graph: tf.Graph) -> set[str]:
    """The kinds of operation in a graph and in the functions that it calls."""
    definition = graph.as_graph_def()
    kinds = {node.op for node in definition.node}
    for function in definition.library.function:
        kinds |= {node.op for node in function.node_def}
    return kinds


# The cells that ran: (layer index, step, tag), in any order within a step.
CELLS: list[tuple[int, int, str]] = []


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class CellRecording(tfag.GradientMethod):
    """The exact gradient, and appends layer, step and tag to `CELLS`."""

    tag: str = "approximate"

    name = "cell_recording"
    needs_step = True


@filter_gradient.register
def _record_cell(method: CellRecording, backprop: GradientInputs) -> tf.Tensor:
    def run(step: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        CELLS.append((backprop.layer, int(step), method.tag))
        return gradient

    gradient = filter_gradient(tfag.FullGradient(), backprop)
    result = tf.py_function(run, [backprop.step, gradient], gradient.dtype)
    return tf.ensure_shape(result, gradient.shape)
