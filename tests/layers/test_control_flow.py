"""Wherever a layer can be called, its gradients are those of a plain call."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly, slowly_but

import tf_approxgrad as tfag
from tf_approxgrad.gradients.replicas import CallNumbers

X = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
ops = keras.ops


class Cell(keras.layers.Layer):
    """A recurrent cell with a convolution."""

    state_size = 2

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def get_initial_state(self, batch_size=None):
        return [tf.zeros([batch_size, 6, 6, 2])]

    def call(self, inputs, states, training=None):
        output = self.layer(inputs + states[0], training=training)
        return output, [output]


def rnn(layer, x):
    return keras.layers.RNN(Cell(layer))(tf.stack([x, 2 * x], axis=1), training=True)


def rnn_unrolled(layer, x):
    return drawing_alike(layer, 2 * x + drawing_alike(layer, x))


def once(layer, x):
    return layer(x, training=True)


def drawing_alike(layer, x):
    """A call that draws as the first one, like each that a loop makes."""
    if isinstance(layer, keras.layers.Layer):
        layer.gradient_policy.calls = CallNumbers()
    return layer(x, training=True)


def twice(layer, x):
    return drawing_alike(layer, drawing_alike(layer, x))


def each(layer, x):
    return tf.concat([drawing_alike(layer, e[None]) for e in tf.unstack(x)], 0)


def true(x):
    return tf.reduce_sum(x) > -1e9


# A function that calls the layer somewhere, and one that computes the same by calls
# that are nowhere special.
PLACES = {
    "tf.cond": (
        lambda f, x: tf.cond(true(x), lambda: f(x, training=True), lambda: x),
        once,
    ),
    "keras.ops.cond": (
        lambda f, x: ops.cond(true(x), lambda: f(x, training=True), lambda: x),
        once,
    ),
    "keras.ops.switch": (
        lambda f, x: ops.switch(1, [lambda y: y, lambda y: f(y, training=True)], x),
        once,
    ),
    "conditional in a conditional": (
        lambda f, x: tf.cond(
            true(x),
            lambda: tf.cond(true(x), lambda: f(x, training=True), lambda: x),
            lambda: x,
        ),
        once,
    ),
    "keras.ops.fori_loop": (
        lambda f, x: ops.fori_loop(0, 2, lambda i, y: f(y, training=True), x),
        twice,
    ),
    "tf.while_loop": (
        lambda f, x: tf.while_loop(
            lambda i, y: i < 2, lambda i, y: (i + 1, f(y, training=True)), (0, x)
        )[1],
        twice,
    ),
    "conditional in a loop": (
        lambda f, x: ops.fori_loop(
            0,
            3,
            lambda i, y: tf.cond(i > 0, lambda: f(y, training=True), lambda: y),
            x,
        ),
        twice,
    ),
    "loop in a conditional": (
        lambda f, x: tf.cond(
            true(x),
            lambda: ops.fori_loop(0, 2, lambda i, y: f(y, training=True), x),
            lambda: x,
        ),
        twice,
    ),
    "keras.ops.map": (
        lambda f, x: ops.map(lambda e: f(e[None], training=True)[0], x),
        each,
    ),
    "keras.ops.scan": (
        lambda f, x: ops.scan(
            lambda carry, e: (carry, f(e[None], training=True)[0]), x[0], x
        )[1],
        each,
    ),
    "RNN over a cell": (rnn, rnn_unrolled),
    "keras.remat": (
        lambda f, x: keras.remat(lambda y: f(y, training=True))(x),
        once,
    ),
    "tf.recompute_grad": (
        lambda f, x: tf.recompute_grad(lambda y: f(y, training=True))(x),
        once,
    ),
    "tf.function": (
        lambda f, x: tf.function(lambda y: f(y, training=True))(x),
        once,
    ),
    # One call for all elements: it draws as a call of them all.
    "tf.vectorized_map": (
        lambda f, x: tf.vectorized_map(lambda e: f(e[None], training=True)[0], x),
        once,
    ),
    "vectorized map of what isn't mapped": (
        lambda f, x: tf.vectorized_map(
            lambda e: e + tf.reduce_sum(f(x, training=True)), x
        ),
        lambda f, x: x + tf.reduce_sum(f(x, training=True)),
    ),
    "vectorized map in a vectorized map": (
        lambda f, x: tf.vectorized_map(
            lambda e: tf.vectorized_map(lambda r: f(r, training=True), e[None, None]),
            x,
        )[:, 0, 0],
        once,
    ),
}
# The others are made of these.
QUICK = (
    *("keras.ops.switch", "conditional in a loop", "RNN over a cell", "keras.remat"),
    *("tf.function", "tf.vectorized_map", "vectorized map of what isn't mapped"),
)
METHODS = {
    "a schedule": tfag.TableSchedule([["full", "max"]]),
    "a method that draws": tfag.Constant(tfag.RowSampledGradient(share=0.4)),
    "both": tfag.TableSchedule([["sampled", "full", "zero"]]),
}


def image(schedule, kind=keras.layers.Conv2D):
    keras.utils.set_random_seed(0)
    layer = kind(2, 3, padding="same", name="convolution")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    tfag.approximate_gradients(model, schedule, input_gradient="sampled")
    return model


def gradients(layer, place):
    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(place(layer, x) ** 2)
        weights = [weight.value for weight in layer.trainable_weights]
        return tape.gradient(loss, [x, *weights])

    return run


@pytest.mark.parametrize("place", slowly_but(QUICK, PLACES))
@pytest.mark.parametrize(
    "schedule", ["both", *slowly("a schedule", "a method that draws")]
)
def test_gradients_are_those_of_a_plain_call(place, schedule):
    model = image(METHODS[schedule])
    step = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, step)
    layer = model.layers[0]
    found, expected = (gradients(layer, each) for each in PLACES[place])
    for number in range(3):
        step.assign(number)
        for a, b in zip(found(X), expected(X), strict=True):
            np.testing.assert_allclose(a, b, 1e-4, 1e-4)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "kind", slowly(keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D)
)
def test_other_kinds_of_layer_can_be_called_there_too(place, kind):
    model = image(tfag.TableSchedule([["max", "zero"]]), kind)
    tfag.bind_step(model, tf.Variable(0, dtype=tf.int64))
    layer = model.layers[0]
    found, expected = (gradients(layer, each)(X) for each in PLACES[place])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-4)


class Placed(keras.Model):
    def __init__(self, part, place):
        super().__init__()
        self.part, self.place = part, place

    def call(self, x, training=None):
        return self.place(self.part.layers[0], x)


@pytest.mark.parametrize("place", ["tf.cond", *slowly(*PLACES)])
def test_fit_follows_the_schedule_there(place):
    model = Placed(image(tfag.TableSchedule([["zero", "full"]])), PLACES[place][0])
    model(X)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    kernel, before = model.part.layers[0].kernel, []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: before.append(kernel.numpy())
    )
    callbacks = [tfag.ApproximationCallback(), record]
    model.fit(X, 0 * X, batch_size=1, verbose=0, callbacks=callbacks)
    moved = [np.any(a != b) for a, b in zip(before, [*before[1:], kernel], strict=True)]
    assert moved == [False, True, False]


def test_gradients_of_others_in_a_vectorized_map_are_left_alone():
    @tf.custom_gradient
    def twice(x):
        return 2 * x, lambda dy: 3 * dy

    def of_no_argument(e):
        @tf.custom_gradient
        def double():
            return 2 * e, lambda dy: None

        return double()

    @tf.custom_gradient
    def two(x):
        return (x, 2 * x), lambda dy, dz: dy + dz

    x = tf.range(3.0)
    np.testing.assert_array_equal(tf.vectorized_map(twice, x), 2 * x)
    np.testing.assert_array_equal(tf.vectorized_map(of_no_argument, x), 2 * x)
    np.testing.assert_array_equal(tf.vectorized_map(two, x)[1], 2 * x)


def test_forward_mode_derivative_is_that_of_the_convolution():
    plain = keras.layers.Conv2D(2, 3)
    model = keras.Sequential([keras.Input(X.shape[1:]), plain])
    kernel, tangent = plain.kernel.value, np.ones((3, 3, 2, 2), np.float32)

    def derivative():
        x = tf.constant(X)
        with tf.autodiff.ForwardAccumulator(
            [x, kernel], [2 * x, tf.constant(tangent)]
        ) as accumulator:
            y = model(x, training=True)
        return accumulator.jvp(y)

    expected = derivative()
    tfag.approximate_gradients(model, tfag.Constant("max"), input_gradient="sampled")
    tfag.bind_step(model, tf.Variable(0))
    np.testing.assert_array_equal(derivative(), expected)
    np.testing.assert_allclose(tf.function(derivative)(), expected, 1e-6, 1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(2, 3),
        keras.layers.Conv2DTranspose(2, 3),
        keras.layers.SeparableConv2D(2, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_variable_may_be_the_input_in_eager_training(layer):
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    tfag.approximate_gradients(model, tfag.Constant("max"))
    variable = tf.Variable(X)
    found = []
    for x in (variable, tf.constant(X)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        found.append(tape.gradient(loss, [x, layer.trainable_weights[0].value]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
