"""That no branch of a switch is ready before the output's gradient is.

If one were, the update of the filters could overtake the forward pass: see
cc/ops/approx_await_backprop_op.cc.
"""

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.inputs import GradientInputs
from tf_approxgrad.layers.policy import LayerPolicy


def branches(
    graph_def: tf.compat.v1.GraphDef,
) -> Iterator[tuple[tf.compat.v1.NodeDef, object]]:
    """The switch of a graph with each of its branches, a FunctionDef."""
    functions = {f.signature.name: f for f in graph_def.library.function}
    for node in graph_def.node:
        if node.op in ("Case", "StatelessCase"):
            for branch in node.attr["branches"].list.func:
                yield node, functions[branch.name]


def test_await_returns_the_gradient_unchanged():
    gradient = tf.random.normal([3, 2])
    output = op_library.approx_await_backprop(
        gradient=gradient, out_backprop=tf.zeros([5])
    )
    np.testing.assert_array_equal(output, gradient)


def test_await_keeps_the_gradients_static_shape():
    @tf.function
    def await_backprop(gradient, out_backprop):
        return op_library.approx_await_backprop(
            gradient=gradient, out_backprop=out_backprop
        )

    graph = await_backprop.get_concrete_function(
        tf.TensorSpec([3, None]), tf.TensorSpec(None)
    )
    assert graph.output_shapes.as_list() == [3, None]


@pytest.mark.parametrize("made", ["filter_gradient", "input_gradient"])
@pytest.mark.parametrize("method", ["max", *slowly("zero", "random", "sampled")])
def test_every_branch_of_a_switch_reads_the_output_gradient(method, made):
    policy = LayerPolicy("conv", tfag.FullGradient())
    policy.input_method = tfag.methods.get(method)
    policy.schedule = tfag.EveryNthStep(method, n=2)
    policy.index = 1
    step = tf.Variable(0, dtype=tf.int64)
    arguments = ConvArguments.parse(1, "SAME", "NHWC", None)

    @tf.function
    def gradient(x, out_backprop):
        filters = tf.ones([3, 3, 2, 4])
        inputs = GradientInputs(
            x,
            tf.shape(filters),
            out_backprop,
            arguments,
            filters,
            step=tf.convert_to_tensor(step),
        )
        return getattr(policy, made)(inputs)

    concrete = gradient.get_concrete_function(
        tf.TensorSpec([2, 5, 5, 2]), tf.TensorSpec([2, 5, 5, 4], name="out_backprop")
    )
    found = list(branches(concrete.graph.as_graph_def()))
    assert len(found) == 2
    for switch, branch in found:
        # The first input of the switch is the branch's index, the others are the
        # branch's arguments.
        position = list(switch.input[1:]).index("out_backprop")
        argument = branch.signature.input_arg[position].name
        (returned,) = branch.ret.values()
        last = next(n for n in branch.node_def if n.name == returned.split(":")[0])
        while last.op == "Identity":
            source = last.input[0].split(":")[0]
            last = next(n for n in branch.node_def if n.name == source)
        assert last.op == "ApproxAwaitBackprop"
        assert last.input[1] == argument


@pytest.mark.parametrize("input_gradient", [None, *slowly("zero")])
@pytest.mark.parametrize("method", ["zero", *slowly("random")])
@pytest.mark.filterwarnings("ignore:input_gradient=:UserWarning")
def test_forward_pass_never_reads_filters_that_are_updated_already(
    method, input_gradient
):
    # Batch normalisation keeps the mean of what the forward pass computed.
    inputs = keras.Input([12, 12, 3])
    x = keras.layers.Conv2D(32, 3, padding="same")(inputs)
    x = keras.layers.Conv2D(8, 5, name="approximated")(x)
    x = keras.layers.BatchNormalization(momentum=0.0, name="mean")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    model = tfag.approximate_gradients(
        model, tfag.EveryNthStep(method, n=2), input_gradient=input_gradient
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    tfag.bind_step(model, model.optimizer.iterations)
    images = np.random.rand(64, 12, 12, 3).astype(np.float32)
    targets = np.random.rand(64, 8).astype(np.float32)
    layer = model.get_layer("approximated")
    before = keras.Model(model.inputs[0], layer.output)
    for step in range(60):
        expected = before(images).numpy().mean(axis=(0, 1, 2))
        model.train_on_batch(images, targets)
        computed = model.get_layer("mean").moving_mean.numpy()
        np.testing.assert_allclose(computed, expected, atol=1e-4, err_msg=f"{step=}")
