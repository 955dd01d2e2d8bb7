"""`VarianceMeter`: minibatch variances, and of which weights they are."""

from typing import Any

import keras
import model_zoo
import numpy as np
import pytest
import tensorflow as tf
from fidelity_checks import state, zoo_batch, zoo_loss
from metered import ROWS, gradients_of, measure, minibatches, network, variance
from model_zoo import conv

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import convertible_layers
from tf_approxgrad.planning.minibatches import Minibatch

ops = keras.ops

# --- Minibatch variance --------------------------------------------------------------


def test_minibatch_variances_are_those_of_the_minibatches_gradients() -> None:
    model = network()
    batches = minibatches(model, count=5, dtype="float64")
    found, _ = measure(model, batches)
    of_weights = list(zip(*gradients_of(model, batches), strict=True))
    expected = [variance(gradients) for gradients in of_weights]
    weights = [id(weight) for weight in model.trainable_weights]
    for index, layer in enumerate(convertible_layers(model), start=1):
        place = weights.index(id(layer.kernel))
        assert found.layers[index].minibatch == pytest.approx(expected[place])
        assert found.layers[index].weights == of_weights[place][0].size
    assert found.minibatch == pytest.approx(sum(expected))
    assert found.weights == sum(gradients[0].size for gradients in of_weights)
    assert found.batch_size == 6
    squares = sum(np.sum(np.mean(g, axis=0) ** 2) for g in of_weights)
    expected_square = max(squares - sum(expected) / 5, 0)
    assert found.gradient_square == pytest.approx(expected_square)


def test_minibatch_variances_in_float32_are_as_good() -> None:
    model = network("float32")
    batches = minibatches(model)
    found, _ = measure(model, batches)
    of_weights = list(zip(*gradients_of(model, batches), strict=True))
    expected = sum(variance(gradients) for gradients in of_weights)
    assert found.minibatch == pytest.approx(expected, rel=1e-4)


def test_equal_minibatches_have_no_variance_and_an_infinite_tau() -> None:
    model = network()
    batches = minibatches(model, count=1, dtype="float64") * 3
    found, _ = measure(model, batches)
    size = sum(np.sum(g**2) for g in gradients_of(model, batches)[0])
    assert found.minibatch == pytest.approx(0, abs=1e-12 * size)
    assert found.gradient_square == pytest.approx(size)
    assert found.layers[1].extra[ROWS] > 0
    for by_layer in (False, True):
        assert found.tau(1, ROWS, by_layer) > 1e6


def test_sample_weights_and_losses_of_the_model_count() -> None:
    model = network()
    batches = minibatches(model, dtype="float64")
    plain, _ = measure(model, batches)
    weighted = [
        batch._replace(sample_weight=tf.constant([1.0, 2, 3, 4, 5, 6], "float64"))
        for batch in batches
    ]
    assert measure(model, weighted)[0].minibatch != pytest.approx(plain.minibatch)
    model.layers[0].activity_regularizer = keras.regularizers.L2(10.0)
    assert measure(model, batches)[0].minibatch != pytest.approx(plain.minibatch)


# --- What is measured ----------------------------------------------------------------


def test_frozen_weights_dont_count() -> None:
    model = model_zoo.functional()
    x, y = zoo_batch(model)
    batches = [Minibatch(tf.constant(a), tf.constant(y), None) for a in (x, 2 * x)]
    found, meter = measure(model, batches)
    assert list(found.layers) == [1]
    assert list(meter.geometries) == [1]
    assert found.weights == sum(np.prod(w.shape) for w in model.trainable_weights)


def test_layer_whose_filters_alone_are_frozen_has_no_variance() -> None:
    model = network()
    model.layers[0].kernel.trainable = False
    found, meter = measure(model, minibatches(model, dtype="float64"))
    assert list(found.layers) == [2]
    assert 1 not in meter.geometries


class Within(keras.layers.Layer):
    """Calls a convolution by a function of it and the input."""

    def __init__(self, place: Any) -> None:
        super().__init__()
        self.inner = conv(3, name="inner")
        self.place = place

    def build(self, shape: Any) -> None:
        self.inner.build(shape)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.place(self.inner, x)


PLACES = {
    "cond": lambda f, x: ops.cond(ops.sum(x) > -1e9, lambda: f(x), lambda: x),
    "while": lambda f, x: ops.while_loop(
        lambda i, y: i < 2, lambda i, y: (i + 1, f(y)), (0, x)
    )[1],
    "twice, once in a conditional": lambda f, x: f(
        ops.cond(ops.sum(x) > -1e9, lambda: f(x), lambda: x)
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_layer_in_control_flow_is_unreachable_and_its_weights_count(
    place: str,
) -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            conv(3, name="before"),
            Within(PLACES[place]),
            conv(3, name="after"),
        ]
    )
    batches = minibatches(model)
    found, meter = measure(model, batches)
    assert 2 not in meter.geometries
    assert list(found.layers) == [1, 3]
    of_weights = zip(*gradients_of(model, batches), strict=True)
    expected = sum(variance(gradients) for gradients in of_weights)
    assert found.minibatch == pytest.approx(expected, rel=1e-3)


def test_layer_without_an_effect_on_the_loss_is_unreachable() -> None:
    inputs = keras.Input((8, 8, 3))
    unused = keras.layers.Lambda(tf.stop_gradient)(conv(3, name="unused")(inputs))
    model = keras.Model(inputs, conv(3, name="used")(inputs) + unused)
    batches = minibatches(model)
    found, meter = measure(model, batches)
    assert 1 not in meter.geometries
    assert list(found.layers) == [2]
    gradients = [
        [g for g in of_batch if g is not None]
        for of_batch in gradients_of(model, batches)
    ]
    assert found.weights == sum(g.size for g in gradients[0])


@pytest.mark.parametrize("metric", [False, True])
def test_loss_scale_cancels_in_tau(metric: bool) -> None:
    taus = []
    for scale in (None, 2.0**8, 2.0**12):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                conv(8, activation="relu", dtype="mixed_float16"),
                conv(8, dtype="mixed_float16"),
                keras.layers.GlobalAveragePooling2D(dtype="float32"),
            ]
        )
        optimizer = keras.optimizers.SGD(0.1)
        if scale is not None:
            optimizer = keras.optimizers.LossScaleOptimizer(
                optimizer, initial_scale=scale
            )
        model.compile(optimizer, "mse")
        # Keras scales in any case, here by the least factor.
        if scale is None:
            model.optimizer = keras.optimizers.SGD(0.1)
        found, _ = measure(model, minibatches(model), loss=None)
        taus.append([found.tau(index, ROWS, metric) for index in (1, 2)])
    assert np.all(np.array(taus) > 0)
    np.testing.assert_allclose(taus[1], taus[2], rtol=0.02)
    # Without it, small gradients of half precision are rounded.
    np.testing.assert_allclose(taus[0], taus[2], rtol=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_are_not_finite_are_refused(value: float) -> None:
    model = network()
    batches = minibatches(model, dtype="float64")
    x = batches[2].x.numpy()
    x[0, 0, 0, 0] = value
    batches[2] = batches[2]._replace(x=tf.constant(x))
    before = state(model)
    message = r"minibatch 3 of the data has gradients of model .* aren't finite"
    with pytest.raises(ValueError, match=message):
        measure(model, batches)
    tf.nest.map_structure(np.testing.assert_array_equal, before, state(model))


@pytest.mark.parametrize("is_converted", [False, True], ids=["plain", "converted"])
@model_zoo.each_model_slowly
def test_model_stays_as_it_was(make: Any, is_converted: bool) -> None:
    model = make()
    if is_converted:
        model = tfag.approximate_gradients(model, model_zoo.SCHEDULE)
    x, y = zoo_batch(model)
    model.compile("adam", zoo_loss(y), metrics=None)
    batch = Minibatch(*tf.nest.map_structure(tf.constant, (x, y)), None)
    before, outputs = state(model), model_zoo.call(model)
    other = batch._replace(x=tf.nest.map_structure(lambda a: 2 * a, batch.x))
    found, _ = measure(model, [batch, other], loss=None)
    assert found.layers
    tf.nest.map_structure(np.testing.assert_array_equal, before, state(model))
    model_zoo.assert_all_equal(outputs, model_zoo.call(model))
