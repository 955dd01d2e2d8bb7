"""`VarianceMeter`: the variance that methods add to a layer's gradient."""

from typing import Any

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf
from metered import LARGEST, ROWS, gradients_of, measure, minibatches, network, variance
from model_zoo import conv
from reference import Problem
from row_reference import row_sampled_variance

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.planning.figures import filters_of

ops = keras.ops

# --- Extra variance ------------------------------------------------------------------


def one_layer(problem: Problem) -> keras.Model:
    layer = keras.layers.Conv2D(
        problem.co,
        problem.kernel,
        problem.strides,
        problem.padding.lower(),
        use_bias=False,
    )
    return keras.Sequential([keras.Input((*problem.size, problem.ci)), layer])


@pytest.mark.parametrize(
    "problem", [Problem(n=6), Problem(n=6, strides=(2, 1), padding="VALID")]
)
def test_extra_variances_are_means_over_the_first_three_minibatches(
    problem: Problem,
) -> None:
    model = one_layer(problem)
    batches = minibatches(model)
    methods = [
        ROWS,
        tfag.RowSampledGradient(0.2),
        LARGEST,
        # By one draw of each minibatch.
        tfag.RowSampledGradient(0.2, scale=0.5),
    ]
    found, meter = measure(model, batches, methods)
    expected: dict[Any, list[float]] = {method: [] for method in methods[:3]}
    for batch in batches:
        x = batch.x.numpy()
        outputs = model(x).numpy().astype(np.float64)
        dy = 2 * (outputs - batch.y.numpy()) / outputs.size
        exact = problem.dense_gradient(x, dy)
        expected[ROWS].append(
            row_sampled_variance(problem, x, dy, 0.5, "product", True)
        )
        expected[methods[1]].append(row_sampled_variance(problem, x, dy, 0.2))
        error = problem.max_gradient(x, dy, 3) - exact
        expected[LARGEST].append(float(np.sum(error**2)))
    extra = found.layers[1].extra
    assert list(extra) == methods
    for method, values in expected.items():
        assert extra[method] == pytest.approx(np.mean(values), rel=1e-4)
    # Half of the exact gradient is missing.
    squares = [np.sum(g[0] ** 2) for g in gradients_of(model, batches)]
    assert extra[methods[3]] > 0.2 * np.mean(squares)
    assert sorted(meter.geometries) == list(found.layers)


def test_methods_that_are_drawn_are_drawn_alike_each_time() -> None:
    model = network()
    batches = minibatches(model, dtype="float64")
    methods = [ROWS, tfag.SampledGradient(k=3)]
    first, again = (measure(model, batches, methods)[0] for _ in range(2))
    assert first == again


def test_layer_that_is_called_twice_has_the_sum_of_its_calls_variances() -> None:
    layer = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layer(ops.relu(layer(inputs))))
    problem = Problem(n=6, size=(8, 8), co=3)
    batches = minibatches(model)
    found, _ = measure(model, batches)
    expected = []
    for batch in batches:
        with tf.GradientTape() as tape:
            first = layer(batch.x)
            tape.watch(first)
            hidden = tf.nn.relu(first)
            outputs = layer(hidden)
            loss = tf.reduce_mean(tf.square(outputs - batch.y))
        of_first, of_outputs = tape.gradient(loss, [first, outputs])
        calls = [(batch.x, of_first), (hidden, of_outputs)]
        expected.append(
            sum(
                row_sampled_variance(
                    problem, x.numpy(), dy.numpy(), 0.5, "product", True
                )
                for x, dy in calls
            )
        )
    extra = found.layers[1].extra[ROWS]
    assert extra == pytest.approx(np.mean(expected), rel=1e-4)
    kernels = [gradients[0] for gradients in gradients_of(model, batches)]
    assert found.layers[1].minibatch == pytest.approx(variance(kernels), rel=1e-3)


@pytest.mark.parametrize("method", [ROWS, tfag.RowSampledGradient(0.3)])
def test_extra_variances_of_other_kinds_of_layer_are_those_of_real_draws(
    method: tfag.GradientMethod,
) -> None:
    """A separable, a transposed and a one-dimensional convolution."""
    model = model_zoo.other_kinds()
    # The transposed one is drawn once for each minibatch.
    (batch,) = minibatches(model, count=1, size=12)
    found, meter = measure(model, [batch] * 40, [method])
    converted = tfag.approximate_gradients(model, tfag.Constant(method))
    counter = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(converted, counter)
    layers = convertible_layers(converted)
    kernels = [filters_of(layer).value for layer in layers]

    @tf.function
    def draw() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = converted(batch.x, training=True)
            loss = tf.reduce_mean(tf.square(outputs - batch.y))
        return tape.gradient(loss, kernels)

    draws = []
    for step in range(200):
        counter.assign(step)
        draws.append([gradient.numpy() for gradient in draw()])
    assert list(found.layers) == [1, 2, 3]
    assert sorted(meter.geometries) == list(found.layers)
    for index, gradients in enumerate(zip(*draws, strict=True), start=1):
        drawn = variance(np.array(gradients, np.float64))
        assert 0.6 < drawn / found.layers[index].extra[method] < 1.5


@pytest.mark.parametrize("input_gradient", [None, "sampled"])
def test_frozen_layer_of_a_converted_model_has_exact_gradients(
    input_gradient: str | None,
) -> None:
    """Its input gradients reach the layers before it, whatever its schedule."""
    found = []
    for is_converted in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((8, 8, 3)), conv(3), conv(3, trainable=False), conv(3)]
        )
        if is_converted:
            schedule = tfag.Constant(tfag.SampledGradient(k=2))
            model = tfag.approximate_gradients(
                model, schedule, input_gradient=input_gradient
            )
            tfag.bind_step(model, tf.Variable(0, dtype=tf.int64))
        found.append(measure(model, minibatches(model))[0].minibatch)
    assert found[0] == pytest.approx(found[1], rel=1e-3)
