"""Conversion changes a model's layers in place: their gradients, and nothing else."""

import functools
import random
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from in_place import assert_same_objects, attributes
from marks import slowly
from model_zoo import (
    SCHEDULE,
    X,
    assert_all_equal,
    call,
    compiled,
    conv,
    converted,
    each_model,
    functional,
    own_functional,
    own_sequential,
    sequential,
    subclassed,
    with_block,
    with_lora,
)

import tf_approxgrad as tfag
from tf_approxgrad.conversion.layer_classes import LayerState, temporary
from tf_approxgrad.conversion.traversal import convertible_layers


@each_model
def test_conversion_and_strip_keep_every_object(make):
    model = make()
    before = attributes(model)
    signatures = [(x._call_signature, x._call_has_training_arg) for x in model.layers]
    assert tfag.approximate_gradients(model, SCHEDULE) is model
    assert sum(converted(model)) == len(convertible_layers(model)) > 0
    assert_same_objects(before, attributes(model))
    assert tfag.strip_approximation(model) is model
    assert not any(converted(model))
    assert_same_objects(before, attributes(model))
    assert signatures == [
        (x._call_signature, x._call_has_training_arg) for x in model.layers
    ]


@pytest.mark.parametrize(
    "make",
    [
        functional,
        *slowly(subclassed, sequential, with_block, with_lora, own_functional),
    ],
)
@pytest.mark.parametrize("strip", [False, *slowly(True)], ids=["converted", "stripped"])
def test_compiled_model_goes_on_training_as_a_plain_twin_does(make, strip):
    twin, model = compiled(make), compiled(make)
    optimizer = model.optimizer
    tfag.approximate_gradients(model, tfag.Constant("full"))
    if strip:
        tfag.strip_approximation(model)
    assert model.optimizer is optimizer
    target = tf.zeros_like(twin(X))
    histories = [
        each.fit(X, target, epochs=2, batch_size=3, verbose=0, shuffle=False).history
        for each in (twin, model)
    ]
    assert histories[0] == histories[1]
    assert set(histories[1]) >= {"loss", "mae", "mse"}
    assert_all_equal(model.get_weights(), twin.get_weights())


@pytest.mark.parametrize("make", [sequential, *slowly(subclassed, own_functional)])
def test_step_that_was_traced_before_conversion_is_traced_again(make):
    model = compiled(make)
    tfag.approximate_gradients(model, tfag.Constant("zero"))
    model.optimizer.learning_rate = 0.0
    # Adam's momentum is of the steps before: only the gradient is looked at.
    moments = [v for v in model.optimizer.variables if "kernel_momentum" in v.path]
    before = [moment.numpy() for moment in moments]
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    assert len(moments) == len(convertible_layers(model))
    for moment, old in zip(moments, before, strict=True):
        np.testing.assert_allclose(moment, 0.9 * old, rtol=1e-5)
    tfag.strip_approximation(model)
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    assert not np.allclose(moments[0], 0.81 * before[0], rtol=1e-3)


@pytest.mark.parametrize("make", [own_sequential, own_functional])
@pytest.mark.parametrize("strip", [False, True], ids=["converted", "stripped"])
def test_training_step_of_a_users_model_class_is_kept(make, strip):
    model = tfag.approximate_gradients(make(), tfag.Constant("max"))
    if strip:
        model = tfag.strip_approximation(model)
    model.compile("sgd", "mse")
    assert "own" in model.fit(X, X, verbose=0).history


def test_training_step_that_was_patched_and_attributes_of_a_users_own_are_kept():
    model = sequential()
    model.class_names = ["cat", "dog"]
    model.compile("sgd", "mse")
    original, calls = model.train_step, []

    def train_step(data):
        calls.append(1)
        return original(data)

    model.train_step = train_step
    tfag.approximate_gradients(model, tfag.Constant("max"))
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    assert (calls, model.class_names) == ([1], ["cat", "dog"])


def test_variables_excluded_from_weight_decay_stay_excluded():
    model = sequential()
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[model.layers[0].kernel])
    model.compile(optimizer, "mse")
    tfag.approximate_gradients(model, tfag.Constant("zero"))
    before = [layer.kernel.numpy() for layer in model.layers]
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    first, second = (layer.kernel.numpy() for layer in model.layers)
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_allclose(second, before[1] * (1 - 0.1 * 0.5), rtol=1e-5)


def preprocessing():
    """Layers whose state isn't in their configuration."""
    normalized = keras.layers.Normalization()
    normalized.adapt(5 + 3 * X)
    discretized = keras.layers.Discretization(num_bins=3)
    discretized.adapt(X[..., :1].ravel())
    integers = keras.layers.IntegerLookup()
    integers.adapt([1, 2, 3])
    inputs = keras.Input((8, 8, 3))
    x = conv()(normalized(inputs))
    shared = keras.ops.cast(integers(discretized(x)), "float32")
    return keras.Model(inputs, conv()(x + shared))


def test_state_of_preprocessing_layers_is_kept():
    model = preprocessing()
    expected = call(model)
    tfag.approximate_gradients(model, tfag.Constant("max"))
    assert_all_equal(call(model), expected)


def test_table_of_a_string_lookup_is_kept():
    lookup = keras.layers.StringLookup(output_mode="one_hot")
    lookup.adapt(["cat", "dog"])
    words, images = keras.Input((), dtype="string"), keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(conv()(images))
    outputs = keras.layers.Concatenate()([x, lookup(words)])
    model = keras.Model([images, words], outputs)
    inputs = [tf.constant(X), tf.constant(["dog", "cat", "dog", "cow", "cat", "dog"])]
    expected = model(inputs).numpy()
    tfag.approximate_gradients(model, tfag.Constant("max"))
    np.testing.assert_array_equal(model(inputs), expected)


def relu(x):
    """Of the same name as Keras' own."""
    return tf.nn.leaky_relu(x, 0.3)


class Scaled:
    """Neither registered nor serialisable."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * tf.reduce_sum(x**2)


OWN_ARGUMENTS = {
    "function of a known name": {"activation": relu},
    "lambda": {"activation": lambda x: 2 * x},
    "partial": {"activation": functools.partial(tf.nn.leaky_relu, alpha=0.3)},
    "regularizer": {"kernel_regularizer": Scaled(0.1)},
    "lambda as a regularizer": {"bias_regularizer": lambda x: tf.reduce_sum(x)},
    "constraint": {"kernel_constraint": lambda x: tf.clip_by_value(x, -0.1, 0.1)},
    "initializer": {"kernel_initializer": lambda shape, dtype: tf.ones(shape, dtype)},
}


@pytest.mark.parametrize("case", OWN_ARGUMENTS)
def test_functions_of_a_users_own_are_kept(case):
    keras.utils.set_random_seed(0)
    layers = [conv(), conv(**OWN_ARGUMENTS[case]), keras.layers.Lambda(lambda x: -x)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    expected, losses = call(model), [float(loss) for loss in model.losses]
    twin = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    tfag.approximate_gradients(model, tfag.Constant("full"))
    assert converted(model)[:2] == [True, True]
    assert_all_equal(call(model), expected)
    assert [float(loss) for loss in model.losses] == losses
    assert twin.layers[0] is model.layers[0]
    tfag.strip_approximation(model)
    assert_all_equal(call(model), expected)


class NotSerializable(tfag.Schedule):
    """Zero everywhere, by a function that no file can hold."""

    def __init__(self):
        self.function = lambda layer, step: tfag.ZeroGradient()

    def __call__(self, layer, step, replica=0):
        return self.function(layer, step)


def test_model_of_a_schedule_that_no_file_can_hold_is_stripped():
    model = compiled(sequential)
    tfag.approximate_gradients(model, NotSerializable())
    model.fit(X, tf.zeros_like(model(X)), verbose=0)
    assert tfag.strip_approximation(model) is model
    assert not any(converted(model))


def test_parts_that_models_share_stay_shared():
    inputs = keras.Input((8, 8, 3))
    encoder = keras.Model(inputs, conv(3)(inputs))
    models = [keras.Model(inputs, conv(4)(encoder(inputs))) for _ in range(2)]
    tfag.approximate_gradients(models[0], tfag.Constant("max"))
    assert [converted(model)[-1] for model in models] == [True, False]
    assert converted(encoder) == [False, True]
    assert tfag.conversion_report(models[1]).converted == [encoder.layers[1].name]
    tfag.strip_approximation(encoder)
    assert sum(converted(models[0])) == 1


def outer_and_part():
    inputs = keras.Input((8, 8, 3))
    part = keras.Model(inputs, conv(3, name="inner")(inputs))
    outer = keras.Model(inputs, conv(3, name="last")(part(inputs)))
    outer.compile(keras.optimizers.SGD(0.1), "mse")
    return outer, part


@pytest.mark.parametrize("strip", [False, True])
def test_callback_follows_what_became_of_a_shared_part(strip):
    outer, part = outer_and_part()
    callbacks = [tfag.ApproximationCallback()]
    schedule = tfag.Constant("zero")
    tfag.approximate_gradients(outer, schedule, layers=None if strip else "last")
    outer.fit(X, X, verbose=0, callbacks=callbacks)
    if strip:
        tfag.strip_approximation(part)
    else:
        tfag.approximate_gradients(part, schedule)
    before = part.layers[-1].kernel.numpy()
    outer.fit(X, X, verbose=0, callbacks=callbacks)
    assert np.any(part.layers[-1].kernel != before) == strip


@pytest.mark.parametrize("strip", [False, True])
def test_conversion_within_fit_takes_effect_at_the_next_step(strip):
    model = sequential()
    if strip:
        tfag.approximate_gradients(model, tfag.Constant("zero"))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    kernels = []

    def change(epoch, logs):
        kernels.append(model.layers[0].kernel.numpy())
        if strip:
            tfag.strip_approximation(model)
        else:
            tfag.approximate_gradients(model, tfag.Constant("zero"))

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=change)
    for _ in range(2):
        model.fit(X, tf.zeros_like(model(X)), verbose=0, callbacks=[callback])
    assert np.any(kernels[0] != model.layers[0].kernel) == strip


def test_layer_that_keras_describes_otherwise_is_refused_before_any_change():
    model = sequential()
    del vars(model.layers[1])["_call_has_training_arg"]
    before = attributes(model)
    with pytest.raises(NotImplementedError, match="_call_has_training_arg"):
        tfag.approximate_gradients(model, SCHEDULE)
    assert not any(converted(model))
    assert_same_objects(before, attributes(model))


def count_calls(layer):
    """Patches a layer's `call`, as a profiler does; returns a list that grows."""
    original, calls = layer.call, []

    def patched(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    layer.call = patched
    return calls


def test_layer_whose_call_is_patched_after_its_conversion_is_exact_when_stripped():
    model = tfag.approximate_gradients(sequential(), tfag.Constant("zero"))
    layer = model.layers[0]
    calls = count_calls(layer)
    assert tfag.conversion_report(model).converted == ["a", "b"]
    tfag.strip_approximation(model)
    assert tfag.conversion_report(model).converted == []
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(X, training=True) ** 2)
    assert np.any(tape.gradient(loss, layer.kernel.value))
    assert calls


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_within_a_conversion_changes_no_layer(error, monkeypatch):
    model = sequential()
    original = LayerState.assign

    def assign(change):
        original(change)
        if change.layer is model.layers[1] and change.policy is not None:
            raise error

    monkeypatch.setattr(LayerState, "assign", assign)
    before = attributes(model)
    with pytest.raises(error):
        tfag.approximate_gradients(model, SCHEDULE)
    assert not any(converted(model))
    assert_same_objects(before, attributes(model))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_classes_for_a_moment_are_restored_whatever_happens(error, monkeypatch):
    model = tfag.approximate_gradients(sequential(), SCHEDULE)
    policies = [layer.gradient_policy for layer in model.layers]
    changes = [LayerState.planned(x, keras.layers.Conv2D, None) for x in model.layers]
    original, interrupts = LayerState.assign, [True]

    def assign(change):
        # The user is impatient: a second interrupt, while layers are restored.
        if change.policy is not None and interrupts:
            interrupts.pop()
            raise KeyboardInterrupt
        original(change)

    with pytest.raises((error, KeyboardInterrupt)), temporary(changes):
        assert not any(converted(model))
        monkeypatch.setattr(LayerState, "assign", assign)
        raise error
    assert not interrupts
    assert [layer.gradient_policy for layer in model.layers] == policies


def test_refusal_as_an_error_changes_nothing():
    """Warnings may be errors, and come before the first change."""

    class WithoutTraining(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolution = conv(3)

        def call(self, x):
            return self.convolution(x)

    model = WithoutTraining()
    model(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"has no argument training.*training=T"):
            tfag.approximate_gradients(model, tfag.Constant("zero"))
    assert not any(converted(model))


def test_layer_whose_call_is_patched_stays_exact_and_the_report_says_so():
    model = sequential()
    layer = model.layers[0]
    calls = count_calls(layer)
    tfag.approximate_gradients(model, tfag.Constant("max"))
    assert converted(model) == [False, True]
    assert tfag.conversion_report(model).skipped == [
        ("a", "its method call is replaced")
    ]
    model(X, training=True)
    assert calls


def test_seeds_of_random_numbers_are_not_drawn_from():
    model = functional()
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()
    tfag.approximate_gradients(model, SCHEDULE)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1][1])
    name = keras.layers.Conv2D(2, 3).name
    assert name.startswith("conv2d")
