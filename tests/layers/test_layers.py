"""ApproxConv2D: Keras' layer, but for the filter gradient in training."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from recording import Recording, operations, switches

import tf_approxgrad as tfag

CONFIGURATIONS = {
    "same": {"padding": "same"},
    "valid": {"padding": "valid"},
    "strides": {"padding": "same", "strides": (2, 1)},
    "dilations": {"padding": "valid", "dilation_rate": (2, 1)},
    "no bias": {"padding": "same", "use_bias": False},
    "activation": {"padding": "same", "activation": "relu"},
    "float64": {"padding": "same", "dtype": "float64"},
    "bfloat16": {"padding": "same", "dtype": "bfloat16"},
    "mixed": {"padding": "same", "dtype": "mixed_float16"},
}
METHODS = {
    "full": tfag.FullGradient(),
    "zero": tfag.ZeroGradient(),
    "random": tfag.RandomGradient(seed=5),
    "max": tfag.MaxGradient(),
    "max k": tfag.MaxGradient(k=3, scale=0.5),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def images(dtype: str = "float32") -> tf.Tensor:
    values = np.random.default_rng(0).normal(size=(4, 7, 6, 3))
    return tf.constant(values, dtype)


def gradients(layer, x, **call):
    """The output, and the gradients of its weighted sum."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **call)
        weights = tf.constant(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        loss = tf.reduce_sum(y * weights)
    variables = [variable.value for variable in layer.trainable_weights]
    return y, tape.gradient(loss, [x, *variables]), weights


def same_layers(method="max", **arguments):
    approximate = tfag.ApproxConv2D(5, 3, method=method, **arguments)
    plain = keras.layers.Conv2D(5, 3, **arguments)
    for layer in (approximate, plain):
        layer.build((None, 7, 6, 3))
    plain.set_weights(approximate.get_weights())
    return approximate, plain


@pytest.mark.parametrize("arguments", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
def test_full_gradient_equals_keras(arguments, graph):
    layers = same_layers(**arguments, method="full")
    x = images(layers[0].compute_dtype)
    results = [
        (tf.function(gradients) if graph else gradients)(layer, x, **call)
        for layer, call in zip(layers, ({"training": True}, {}), strict=True)
    ]
    (y, found, _), (expected_y, expected, _) = results
    np.testing.assert_array_equal(y, expected_y)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@each_method
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
def test_only_the_kernels_gradient_is_approximated(method, graph):
    approximate, plain = same_layers(padding="same", strides=2, method=method)
    step = tf.Variable(3, dtype=tf.int64)
    approximate.gradient_policy.step = lambda: tf.convert_to_tensor(step)
    x = images()
    run = tf.function(gradients) if graph else gradients
    y, found, weights = run(approximate, x, training=True)
    expected_y, expected, _ = run(plain, x)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[2], expected[2])
    kernel_gradient = tfag.conv2d_backprop_filter(
        x, approximate.kernel.shape, weights, 2, "SAME", method=method, step=step
    )
    np.testing.assert_allclose(found[1], kernel_gradient, rtol=1e-6)
    if method != tfag.FullGradient():
        assert not np.allclose(found[1], expected[1], rtol=1e-3)


@each_method
def test_sgd_step_moves_the_kernel_by_the_methods_gradient(method):
    layer = tfag.ApproxConv2D(5, 3, use_bias=False, method=method)
    model = keras.Sequential([keras.Input((7, 6, 3)), layer])
    model.compile(keras.optimizers.SGD(0.5), lambda y, p: tf.reduce_sum(y * p))
    tfag.bind_step(model, model.optimizer.iterations)
    before = layer.kernel.numpy()
    x = images()
    dy = np.random.default_rng(2).normal(size=(4, 5, 4, 5)).astype(np.float32)
    # The index that a layer gets with the step, which random's numbers depend on.
    index = layer.gradient_policy.index
    assert index == 1
    model.train_on_batch(x, dy)
    if isinstance(method, tfag.RandomGradient):
        assert np.std(layer.kernel.numpy() - before) == pytest.approx(0.5 / 4, rel=0.25)
        return
    gradient = tfag.conv2d_backprop_filter(
        x, before.shape, dy, 1, "VALID", method=method, step=0
    )
    np.testing.assert_allclose(
        layer.kernel.numpy(), before - 0.5 * gradient.numpy(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("training", [False, None])
def test_outside_training_the_gradient_is_exact_and_the_graph_stock(training):
    approximate, plain = same_layers(padding="same", method="max")
    x = images()
    _, found, _ = gradients(approximate, x, training=training)
    _, expected, _ = gradients(plain, x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    graph = tf.function(lambda x: approximate(x, training=training))
    kinds = operations(graph.get_concrete_function(x).graph)
    assert not any("Approx" in kind for kind in kinds)


def traced(schedule, layers=2):
    """The graph of the gradients of a model of some layers under a schedule."""
    model = keras.Sequential(
        [keras.Input((6, 6, 2))]
        + [keras.layers.Conv2D(2, 3, padding="same") for _ in range(layers)]
    )
    model = tfag.approximate_gradients(model, schedule)
    step = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, step)

    @tf.function
    def train(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, [w.value for w in model.trainable_weights])

    x = tf.ones([2, 6, 6, 2])
    return train.get_concrete_function(x).graph


@pytest.mark.parametrize("name", METHODS)
def test_row_that_never_changes_has_no_switch(name):
    graph = traced(tfag.EveryNthLayer(METHODS[name], n=2))
    assert switches(graph) == []
    assert ("ApproxConv2DBackpropFilter" in operations(graph)) == name.startswith("max")


def test_row_that_changes_has_exactly_one_switch():
    assert len(switches(traced(tfag.Alternate("max"), layers=4))) == 2
    assert len(switches(traced(tfag.EveryNthStep("max"), layers=3))) == 3


@each_method
def test_config_and_file_round_trips_keep_the_method(method, tmp_path):
    layer = tfag.ApproxConv2D(4, 3, method=method, name="approximated")
    assert tfag.ApproxConv2D.from_config(layer.get_config()).method == method
    model = keras.Sequential([keras.Input((7, 6, 3)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("approximated").method == method
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_weight_files_of_plain_and_approximate_models_fit_each_other(tmp_path):
    models = [
        keras.Sequential([keras.Input((7, 6, 3)), kind(4, 3), kind(2, 3)])
        for kind in (
            keras.layers.Conv2D,
            functools.partial(tfag.ApproxConv2D, method="max"),
        )
    ]
    for source, target in itertools.permutations(models):
        for weight in target.weights:
            weight.assign(weight + 1)
        source.save_weights(tmp_path / "file.weights.h5")
        target.load_weights(tmp_path / "file.weights.h5")
        for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["full", "zero", "random", "max", "sampled"])
def test_layer_supports_xla_where_its_method_does(method):
    assert tfag.ApproxConv2D(4, 3, method=method).supports_jit is True
    layer = tfag.ApproxConv2D(4, 3, method=Recording())
    assert layer.supports_jit is False
    layer = tfag.ApproxConv2D(4, 3, method=method)
    layer.supports_jit = False
    assert layer.supports_jit is False


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"groups": 2}, ValueError, ("'conv'", "groups=2", "groups=1")),
        ({"method": "maximum"}, ValueError, ("method", "'maximum'", "'max'")),
        ({"method": 3}, TypeError, ("method", "3")),
        ({"method": tfag.MaxGradient}, TypeError, ("method", "MaxGradient")),
        ({"schedule": tfag.Alternate("max")}, ValueError, ("schedule", "layer_index")),
        ({"layer_index": 2}, ValueError, ("schedule=None", "layer_index=2")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_are_refused_at_construction(arguments, error, words):
    with pytest.raises(error) as caught:
        tfag.ApproxConv2D(4, 3, name="conv", **{"method": "max"} | arguments)
    for word in words:
        assert word in str(caught.value)


def test_input_of_a_wrong_rank_is_refused():
    with pytest.raises(ValueError, match="expected min_ndim=4"):
        tfag.ApproxConv2D(4, 3, method="max")(tf.ones([2, 6, 3]), training=True)


@pytest.mark.parametrize(
    "layer",
    [
        tfag.ApproxConv2D,
        tfag.ApproxConv1D,
        tfag.ApproxConv2DTranspose,
        tfag.ApproxSeparableConv2D,
    ],
)
def test_method_has_no_default(layer):
    with pytest.raises(TypeError, match="method"):
        layer(4, 3)


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
def test_method_that_needs_the_step_refuses_to_train_without(graph):
    layer = tfag.ApproxConv2D(4, 3, method="random", name="conv")
    run = tf.function(gradients) if graph else gradients
    with pytest.raises(RuntimeError, match=r"'conv'.*ApproximationCallback.*bind_step"):
        run(layer, images(), training=True)
