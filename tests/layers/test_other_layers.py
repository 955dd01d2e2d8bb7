"""ApproxConv1D, ApproxSeparableConv2D and ApproxConv2DTranspose: the same mathematics.

Their gradients are compared with the definition of the max method, worked out here
position by position, and with Keras' own where all positions are kept.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from recording import operations

import tf_approxgrad as tfag

EVERY_POSITION = tfag.MaxGradient(k=10**6, scale=1.0)


def line(kind, shape=(3, 9, 3), **arguments):
    arguments = {"filters": 4, "kernel_size": 3} | arguments
    return kind, shape, arguments


def image(kind, shape=(3, 6, 5, 3), **arguments):
    return line(kind, shape, **arguments)


# Each with the class of Keras beside ours, an input's shape, and arguments.
CONV1D = (tfag.ApproxConv1D, keras.layers.Conv1D)
SEPARABLE = (tfag.ApproxSeparableConv2D, keras.layers.SeparableConv2D)
TRANSPOSED = (tfag.ApproxConv2DTranspose, keras.layers.Conv2DTranspose)
CASES = {
    "line": line(CONV1D),
    "line same": line(CONV1D, padding="same", strides=2, use_bias=False),
    "line causal": line(CONV1D, padding="causal", strides=2, activation="relu"),
    "line causal dilated": line(CONV1D, padding="causal", dilation_rate=2),
    "line dilated": line(CONV1D, padding="same", dilation_rate=3),
    "line channels first": line(CONV1D, (3, 3, 9), data_format="channels_first"),
    "line causal channels first": line(
        CONV1D, (3, 3, 9), data_format="channels_first", padding="causal"
    ),
    "line float64": line(CONV1D, dtype="float64"),
    "separable": image(SEPARABLE),
    "separable strides": image(
        SEPARABLE, padding="same", strides=2, depth_multiplier=2, activation="relu"
    ),
    "separable dilated": image(SEPARABLE, dilation_rate=2, use_bias=False),
    "separable channels first": image(
        SEPARABLE, (3, 3, 6, 5), data_format="channels_first"
    ),
    "transposed": image(TRANSPOSED),
    "transposed strides": image(
        TRANSPOSED, strides=(2, 3), kernel_size=(4, 3), activation="relu"
    ),
    "transposed same": image(TRANSPOSED, padding="same", strides=2, kernel_size=4),
    "transposed small kernel": image(
        TRANSPOSED, padding="same", strides=3, kernel_size=2
    ),
    "transposed output padding": image(
        TRANSPOSED, padding="same", strides=3, output_padding=1, use_bias=False
    ),
    "transposed dilated": image(TRANSPOSED, padding="same", dilation_rate=2),
    "transposed channels first": image(
        TRANSPOSED, (3, 3, 6, 5), data_format="channels_first", strides=2
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
# For tests that take long: one case of each kind is quick.
QUICK = (
    "line causal",
    "separable strides",
    "transposed strides",
    "transposed dilated",
    "transposed channels first",
)
each_case_slowly = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * (name not in QUICK))
        for name, case in CASES.items()
    ],
    ids=CASES,
)


def pair(case, method):
    (ours, keras_own), shape, arguments = case
    layers = ours(**arguments, method=method), keras_own(**arguments)
    for layer in layers:
        layer.build(shape)
    layers[1].set_weights(layers[0].get_weights())
    x = np.random.default_rng(0).normal(size=shape)
    return *layers, tf.constant(x, layers[1].compute_dtype)


def gradients(layer, x, **call):
    """The output, the gradients of its weighted sum, and the weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **call)
        weights = tf.constant(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        loss = tf.reduce_sum(y * weights)
    variables = {v.name: v.value for v in layer.trainable_weights}
    return y, tape.gradient(loss, {"input": x, **variables}), weights


@each_case_slowly
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
def test_everything_but_the_filter_gradient_is_keras_own(case, graph):
    ours, plain, x = pair(case, "zero")
    run = tf.function(gradients) if graph else gradients
    y, found, _ = run(ours, x, training=True)
    expected_y, expected, _ = run(plain, x)
    # Keras convolves a separable layer by one op, which rounds otherwise on some CPUs.
    np.testing.assert_allclose(y, expected_y, 1e-6, 1e-6)
    kernel = "pointwise_kernel" if "pointwise_kernel" in expected else "kernel"
    for name in expected:
        if name == kernel:
            assert not np.any(found[name])
            assert np.any(expected[name])
        else:
            np.testing.assert_allclose(found[name], expected[name], 1e-5, 1e-5)


@each_case_slowly
@pytest.mark.parametrize("method", [tfag.FullGradient(), EVERY_POSITION], ids=str)
def test_gradients_of_every_position_are_the_exact_ones(case, method):
    # Alternate, so that the full method's branch of a switch is tried as well.
    table = [[method, "zero"]]
    ours, plain, x = pair(case, "full")
    _, expected, _ = gradients(plain, x)
    model = tfag.approximate_gradients(
        keras.Sequential([keras.Input(batch_shape=x.shape, dtype=x.dtype), plain]),
        tfag.TableSchedule(table),
        input_gradient=tfag.SampledGradient(k=10**6),
    )
    step = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, step)
    layer = model.layers[0]
    assert type(layer) is type(ours)
    run = tf.function(lambda: gradients(layer, x, training=True)[1])
    for name, gradient in run().items():
        tolerance = 1e-9 if x.dtype == tf.float64 else 1e-4
        np.testing.assert_allclose(gradient, expected[name], tolerance, tolerance)
    step.assign(1)
    kernel = "pointwise_kernel" if "pointwise_kernel" in expected else "kernel"
    assert not np.any(run()[kernel])


@each_case
def test_share_of_one_is_exact_in_every_geometry(case):
    ours, plain, x = pair(case, tfag.RowSampledGradient(share=1.0))
    ours.gradient_policy.step = lambda: tf.constant(0)
    _, expected, _ = gradients(plain, x)
    _, found, _ = gradients(ours, x, training=True)
    tolerance = 1e-9 if x.dtype == tf.float64 else 1e-4
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], tolerance, tolerance)


@each_case
def test_max_keeps_the_positions_of_the_outputs_gradient(case):
    _, plain, x = pair(case, "full")
    (ours, _), shape, arguments = case
    arguments = arguments | {"activation": None}
    method = tfag.MaxGradient(scale=1.0)
    ours = ours(**arguments, method=method, input_gradient=method)
    ours.build(shape)
    plain.activation = keras.activations.linear
    ours.set_weights(plain.get_weights())
    _, found, dy = gradients(ours, x, training=True)
    kernel = "pointwise_kernel" if "pointwise_kernel" in found else "kernel"
    # The exact gradient of an output gradient that holds, for each example and channel,
    # its sum at the position of its largest element: the paper's Algorithm 1.
    last = plain.data_format == "channels_last"
    flat = np.moveaxis(dy.numpy(), -1 if last else 1, 1)
    spatial, flat = flat.shape[2:], flat.reshape(*flat.shape[:2], -1)
    kept = np.zeros_like(flat)
    positions = np.abs(flat).argmax(-1)[..., None]
    np.put_along_axis(kept, positions, flat.sum(-1, keepdims=True), -1)
    kept = np.moveaxis(kept.reshape(*kept.shape[:2], *spatial), 1, -1 if last else 1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = plain(x)
    sources = {kernel: getattr(plain, kernel).value, "input": x}
    expected = tape.gradient(y, sources, output_gradients=tf.constant(kept))
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, 1e-4, 1e-4)


@each_case_slowly
@pytest.mark.parametrize("training", [False, None])
def test_outside_training_the_graph_is_keras_own(case, training):
    ours, plain, x = pair(case, "max")
    np.testing.assert_array_equal(ours(x, training=training), plain(x))
    kinds = [
        operations(tf.function(call).get_concrete_function(x).graph)
        for call in (lambda x: ours(x, training=training), plain)
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("name", ["line", "separable", "transposed strides"])
def test_symbolic_sizes_and_mixed_precision_train(name):
    (_, keras_own), shape, arguments = CASES[name]
    sizes = [None] * (len(shape) - 2)
    inputs = keras.Input((*sizes, shape[-1]))
    layer = keras_own(**arguments, dtype="mixed_bfloat16")
    model = tfag.approximate_gradients(
        keras.Model(inputs, layer(inputs)), tfag.Constant("max")
    )
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(x, np.zeros(model(x).shape), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.all(np.isfinite(new))
        assert np.any(new != old)


@pytest.mark.parametrize(
    "name", ["line causal", "separable strides", "transposed strides"]
)
def test_file_keeps_the_layer_and_its_method(name, tmp_path):
    (ours, _), shape, arguments = CASES[name]
    layer = ours(**arguments, method=tfag.MaxGradient(k=2), name="approximated")
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("approximated")) is ours
    assert loaded.get_layer("approximated").method == tfag.MaxGradient(k=2)
    x = np.ones(shape, np.float32)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_groups_are_refused_at_construction():
    with pytest.raises(ValueError, match=r"'conv'.*groups=2.*ApproxConv1D.*groups=1"):
        tfag.ApproxConv1D(4, 3, groups=2, name="conv", method="max")
