"""Copying a model with other layers: what is compiled, and what can't be copied."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from model_zoo import (
    SCHEDULE,
    Block,
    X,
    assert_all_equal,
    call,
    compiled,
    conv,
    converted,
    functional,
    own_functional,
    own_sequential,
    sequential,
    subclassed,
    with_block,
    with_lora,
)

import tf_approxgrad as tfag


@pytest.mark.parametrize(
    "make",
    [
        functional,
        subclassed,
        *slowly(sequential, with_block, with_lora, own_functional),
    ],
)
@pytest.mark.parametrize("strip", [False, *slowly(True)], ids=["converted", "stripped"])
def test_compiled_model_goes_on_training_as_the_original_would(make, strip):
    original, copy = compiled(make), compiled(make)
    copy = tfag.approximate_gradients(copy, tfag.Constant("full"))
    if strip:
        copy = tfag.strip_approximation(copy)
    assert int(copy.optimizer.iterations) == 4
    assert_all_equal(copy.optimizer.variables, original.optimizer.variables)
    target = tf.zeros_like(original(X))
    histories = [
        model.fit(X, target, epochs=2, batch_size=3, verbose=0, shuffle=False).history
        for model in (original, copy)
    ]
    assert histories[0] == histories[1]
    assert set(histories[1]) >= {"loss", "mae", "mse"}
    assert_all_equal(copy.get_weights(), original.get_weights())


def test_loss_scale_of_mixed_float16_is_kept():
    def make():
        layers = [conv(dtype="mixed_float16"), conv(dtype="mixed_float16")]
        return keras.Sequential([keras.Input((8, 8, 3)), *layers])

    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(make)
    finally:
        keras.config.set_dtype_policy("float32")
    model.optimizer.dynamic_scale.assign(64.0)
    copy = tfag.approximate_gradients(model, SCHEDULE)
    assert isinstance(copy.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(copy.optimizer.dynamic_scale) == 64.0
    assert_all_equal(copy.optimizer.variables, model.optimizer.variables)
    plain = sequential()
    plain.compile(keras.optimizers.SGD(), "mse", auto_scale_loss=False)
    copy = tfag.approximate_gradients(plain, SCHEDULE)
    assert type(copy.optimizer) is keras.optimizers.SGD


def own_loss(y, prediction):
    return tf.reduce_mean((y - prediction) ** 2)


class OwnLoss(keras.losses.Loss):
    """Not registered with Keras' serialisation."""

    def call(self, y, prediction):
        return own_loss(y, prediction)


@pytest.mark.parametrize(
    "loss", [own_loss, OwnLoss(), lambda y, p: own_loss(y, p), [own_loss]]
)
@pytest.mark.parametrize("make", [sequential, functional])
def test_loss_and_metrics_of_a_users_own_are_kept(make, loss):
    model = make()
    model.compile("sgd", loss, metrics=[own_loss, keras.metrics.MeanSquaredError()])
    target = tf.zeros_like(model(X))
    expected = model.evaluate(X, target, verbose=0)
    copy = tfag.approximate_gradients(model, SCHEDULE)
    assert copy.evaluate(X, target, verbose=0) == expected
    # Each has metrics of its own.
    assert not {*map(id, copy.metrics)} & {*map(id, model.metrics)}


class OwnOptimizer(keras.optimizers.SGD):
    """Can't be made from its configuration."""

    def __init__(self, secret):
        super().__init__(0.1)


def test_optimizer_that_cannot_be_copied_is_left_to_the_user_with_a_warning():
    model = sequential()
    model.compile(OwnOptimizer("x"), "mse")
    with pytest.warns(UserWarning, match="call compile on the converted model"):
        copy = tfag.approximate_gradients(model, SCHEDULE)
    assert not copy.compiled
    assert model.compiled
    assert isinstance(model.optimizer, OwnOptimizer)
    assert_all_equal(call(copy), call(model))


def test_optimizer_built_for_other_variables_starts_afresh_with_a_warning():
    model = compiled(sequential)
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="starts afresh"):
        copy = tfag.approximate_gradients(model, SCHEDULE)
    assert int(copy.optimizer.iterations) == 0


@pytest.mark.parametrize("strip", [False, True], ids=["converted", "stripped"])
def test_settings_of_compile_are_kept(strip):
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model = sequential()
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    model.compile(optimizer, "mae", metrics=["mse"], steps_per_execution=2)
    copy = tfag.approximate_gradients(model, SCHEDULE)
    if strip:
        copy = tfag.strip_approximation(copy)
    assert copy.optimizer is not model.optimizer
    assert copy.optimizer.get_config() == model.optimizer.get_config()
    assert (copy.loss, copy.steps_per_execution) == ("mae", 2)
    assert not copy.run_eagerly


def test_learning_rate_that_was_set_after_compile_is_kept():
    model = compiled(sequential)
    model.optimizer.learning_rate = 0.125
    copy = tfag.approximate_gradients(model, SCHEDULE)
    assert float(copy.optimizer.learning_rate) == 0.125


def test_model_that_was_not_compiled_stays_so():
    copy = tfag.approximate_gradients(sequential(), SCHEDULE)
    assert not copy.compiled
    assert not tfag.strip_approximation(copy).compiled


def test_original_and_copy_train_by_themselves():
    model = compiled(sequential)
    copy = tfag.approximate_gradients(model, tfag.Constant("zero"))
    before = copy.get_weights(), [v.numpy() for v in copy.optimizer.variables]
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    assert_all_equal(copy.get_weights(), before[0])
    assert_all_equal(copy.optimizer.variables, before[1])


@pytest.mark.parametrize("make", [own_sequential, own_functional])
@pytest.mark.parametrize("strip", [False, True], ids=["converted", "stripped"])
def test_training_step_of_a_users_model_class_is_kept(make, strip):
    model = tfag.approximate_gradients(make(), tfag.Constant("max"))
    if strip:
        model = tfag.strip_approximation(model)
    model.compile("sgd", "mse")
    assert "own" in model.fit(X, X, verbose=0).history


class NoConfiguration(keras.layers.Layer):
    """Keras can't make it again: its constructor has an argument."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x


class Grown(keras.layers.Layer):
    """A copy has fewer weights, because what is added later is in no configuration."""

    def call(self, x):
        return x


def grown():
    layer = Grown()
    layer.more = conv(3)
    layer.more.build((None, 8, 8, 3))
    return layer


@pytest.mark.parametrize(
    "layer",
    [lambda: NoConfiguration(2.0), lambda: keras.layers.Lambda(lambda x: -x), grown],
    ids=["no configuration", "lambda", "other weights"],
)
def test_model_that_keras_cannot_copy_is_converted_in_place_with_a_warning(layer):
    model = keras.Sequential([keras.Input((8, 8, 3)), conv(3), layer(), conv(3)])
    expected, variables = call(model), model.variables
    with pytest.warns(UserWarning, match="can't copy model.*in place"):
        assert tfag.approximate_gradients(model, SCHEDULE) is model
    assert any(converted(model))
    assert_all_equal(call(model), expected)
    assert all(a is b for a, b in zip(model.variables, variables, strict=True))
    with pytest.warns(UserWarning, match="can't copy model.*in place"):
        assert tfag.strip_approximation(model) is model
    assert not any(converted(model))


class WithoutTraining(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = conv(3)

    def call(self, x):
        return self.convolution(x)


@pytest.mark.parametrize("compile_first", [False, True])
def test_model_that_is_not_told_that_it_trains_is_refused_by_the_callback(
    compile_first,
):
    model = WithoutTraining()
    model(X)
    if compile_first:
        model.compile("sgd", "mse")
        model.fit(X, X, verbose=0)
    with pytest.warns(UserWarning, match=r"has no argument training.*training=True"):
        tfag.approximate_gradients(model, tfag.Constant("zero"))
    if not compile_first:
        model.compile("sgd", "mse")
    kernel = model.convolution.kernel.numpy()
    with pytest.raises(ValueError, match=r"no argument training.*training=None"):
        model.fit(X, X, verbose=0, callbacks=[tfag.ApproximationCallback()])
    np.testing.assert_array_equal(model.convolution.kernel, kernel)
    # A loop of the user's own can tell it.
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(X, training=True) ** 2)
    assert not np.any(tape.gradient(loss, model.convolution.kernel.value))


@pytest.mark.parametrize("make", [subclassed, own_functional])
def test_compiled_model_converted_in_place_trains_the_approximation(make):
    model = compiled(make)
    kernels = [w.numpy() for w in model.weights if w.name == "kernel"]
    tfag.approximate_gradients(model, tfag.Constant("zero"))
    model.optimizer.learning_rate = 0.0
    # Adam's momentum is of the steps before: only the gradient is looked at.
    moments = [v for v in model.optimizer.variables if "kernel_momentum" in v.path]
    before = [moment.numpy() for moment in moments]
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    assert len(moments) == len(kernels)
    for moment, old in zip(moments, before, strict=True):
        np.testing.assert_allclose(moment, 0.9 * old, rtol=1e-5)


def test_copy_is_made_where_the_original_is_distributed():
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([devices[0].name])
    with strategy.scope():
        model = sequential()
    copy = tfag.approximate_gradients(model, SCHEDULE)
    assert copy.distribute_strategy is strategy
    kinds = [type(model.layers[0].kernel.value), type(copy.layers[0].kernel.value)]
    assert kinds[0] is kinds[1]


def test_conversion_leaves_no_second_copy_of_the_weights():
    # A shape that no other test has.
    def make():
        return keras.Sequential([keras.Input((8, 8, 3)), conv(11), Block(), conv(13)])

    model = compiled(make)
    originals = [
        weakref.ref(v.value) for v in (*model.variables, *model.optimizer.variables)
    ]
    model = tfag.approximate_gradients(model, SCHEDULE)
    gc.collect()
    assert [ref for ref in originals if ref() is not None] == []
    variables = {id(v.value) for v in (*model.variables, *model.optimizer.variables)}
    kinds = (tf.Variable, np.ndarray, type(tf.constant(0)))
    alive = [
        x
        for x in gc.get_objects()
        if isinstance(x, kinds) and tuple(x.shape) == (3, 3, 3, 11)
    ]
    assert {id(x) for x in alive} <= variables
