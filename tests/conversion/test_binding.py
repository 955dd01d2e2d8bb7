"""bind_step: the schedule in training loops of one's own."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from model_zoo import Block, conv
from recording import RAN, Recording

import tf_approxgrad as tfag

X = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)


def make_model(schedule: tfag.Schedule | None, layers: int = 3) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((6, 6, 2))]
        + [keras.layers.Conv2D(2, 3, padding="same") for _ in range(layers)]
    )
    return tfag.approximate_gradients(model, schedule) if schedule else model


def train_step(model, optimizer):
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x, training=True) ** 2)
        weights = model.trainable_weights
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        optimizer.apply(gradients, weights)

    return step


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
@pytest.mark.parametrize("bound", ["iterations", "optimizer"])
def test_own_loop_runs_the_schedules_method_in_each_cell(graph, bound):
    schedule = tfag.Alternate(Recording())
    model = make_model(schedule)
    optimizer = keras.optimizers.SGD(0.01)
    tfag.bind_step(model, optimizer if bound == "optimizer" else optimizer.iterations)
    step = train_step(model, optimizer)
    step = tf.function(step) if graph else step
    optimizer.build(model.trainable_variables)
    for number in range(5):
        RAN.clear()
        step(tf.constant(X))
        layers = [x for x in (1, 2, 3) if schedule(x, number) == Recording()]
        assert sorted(RAN) == [("approximate", layer) for layer in layers]


def test_step_is_read_when_the_gradient_runs_not_when_it_is_traced():
    model = make_model(tfag.EveryNthStep("zero", n=3, start=2), layers=1)
    step = tf.Variable(0, dtype=tf.int64)
    tfag.bind_step(model, step)

    @tf.function
    def is_zero():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(X, training=True) ** 2)
        (gradient,) = tape.gradient(loss, [model.layers[0].kernel.value])
        return tf.reduce_all(gradient == 0)

    found = []
    for number in (0, 2, 1, 5, 10**12 + 1, 10**12):
        step.assign(number)
        found.append(bool(is_zero()))
    assert found == [number % 3 == 2 for number in (0, 2, 1, 5, 10**12 + 1, 10**12)]


def test_random_draws_differ_between_layers_and_steps_and_repeat_in_a_new_run():
    def draw(step_number):
        model = make_model(tfag.Constant(tfag.RandomGradient(stddev=1.0)), layers=2)
        step = tf.Variable(step_number, dtype=tf.int64)
        tfag.bind_step(model, step)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(X, training=True))
        kernels = [layer.kernel.value for layer in model.layers]
        return [gradient.numpy() for gradient in tape.gradient(loss, kernels)]

    first, again, later = draw(0), draw(0), draw(1)
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first[0], first[1]).any()
    assert not np.isclose(first, later).any()


def test_layers_of_a_model_without_a_schedule_are_numbered():
    layers = [tfag.ApproxConv2D(2, 3, method="random") for _ in range(2)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    tfag.bind_step(model, tf.Variable(0, dtype=tf.int64))
    assert [layer.gradient_policy.index for layer in layers] == [1, 2]


@pytest.mark.parametrize(
    "step",
    [3, None, 0.5, tf.Variable(1.0), tf.Variable([1, 2]), tf.constant(3), "3"],
    ids=str,
)
def test_step_that_is_no_counter_is_refused(step):
    model = make_model(tfag.Alternate("max"))
    with pytest.raises(ValueError, match=r"^step=.* scalar integer variable"):
        tfag.bind_step(model, step)
    assert all(layer.gradient_policy.step is None for layer in model.layers)


def test_model_without_approximated_layers_is_refused():
    with pytest.raises(ValueError, match=r"no converted layer.*approximate_grad"):
        tfag.bind_step(make_model(None), tf.Variable(0))


@pytest.mark.parametrize(
    ("converted", "taken"),
    [
        ([1, 2, 4], [1, 3]),  # The third one's place is now that of a converted one.
        ([1, 2], [2, 3, 4]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ([1, 2, 4], [3, 4]),
                ([1, 4], [3, 4]),
                ([2, 4], [1, 2, 3]),
                ([1, 2, 3], [1, 4]),
            )
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "again", [True, *slowly(False)], ids=["given a schedule", "once"]
)
def test_shorter_model_of_a_partly_converted_one_trains(converted, taken, again):
    model = tfag.approximate_gradients(
        make_model(None, layers=4), tfag.Constant("zero"), converted
    )
    layers = [model.layers[index - 1] for index in taken]
    shorter = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    shorter.compile("sgd", "mse")
    if again:
        callback = tfag.ApproximationCallback(tfag.Constant("zero"))
        shorter.fit(X, X, verbose=0, callbacks=[callback])
    before = [layer.kernel.numpy() for layer in layers]
    shorter.fit(X, X, verbose=0, callbacks=[tfag.ApproximationCallback()])
    kept = [
        np.array_equal(layer.kernel, old)
        for layer, old in zip(layers, before, strict=True)
    ]
    assert kept == [index in converted for index in taken]


@pytest.mark.parametrize("other", ["plain", "converted"])
def test_layers_that_are_plain_again_are_noticed_in_a_larger_model(other, tmp_path):
    part = keras.Sequential([keras.Input((6, 6, 3)), Block(), conv(3, name="last")])
    tfag.approximate_gradients(part, tfag.Constant("max")).save(tmp_path / "part.keras")
    part = keras.models.load_model(tmp_path / "part.keras")
    first = keras.Sequential([keras.Input((6, 6, 3)), conv(3, name="first")])
    if other == "converted":
        first = tfag.approximate_gradients(first, tfag.Constant("max"))
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, conv(name="head")(part(first(inputs))))
    with pytest.raises(ValueError, match=r"layers inner1, inner2 are plain"):
        tfag.bind_step(model, tf.Variable(0))


TARGETS = np.zeros((4, 6, 6, 2), np.float32)


@pytest.mark.parametrize(
    "how", ["callback", *slowly("bind_step", "bind_step before compile")]
)
@pytest.mark.parametrize("run_eagerly", [False, *slowly(True)])
def test_model_compiled_again_refuses_the_steps_of_its_last_optimizer(how, run_eagerly):
    """They stand still: a layer would rest, or be exact, for ever."""
    model = make_model(tfag.EveryNthStep("zero", n=4, start=1))
    first = keras.optimizers.SGD(0.01)
    if how == "bind_step before compile":
        tfag.bind_step(model, first.iterations)
    model.compile(first, "mse", run_eagerly=run_eagerly)
    if how == "bind_step":
        tfag.bind_step(model, first)
    callbacks = [tfag.ApproximationCallback()] if how == "callback" else []
    model.fit(X, TARGETS, verbose=0, callbacks=callbacks)
    model.fit(X, TARGETS, verbose=0)
    model.compile(keras.optimizers.SGD(0.001), "mse", run_eagerly=run_eagerly)
    weights = model.get_weights()
    with pytest.raises(RuntimeError, match=r"with another optimizer.*callbacks="):
        model.fit(X, TARGETS, verbose=0)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    model.evaluate(X, TARGETS, verbose=0)
    tfag.bind_step(model, model.optimizer)
    model.fit(X, TARGETS, verbose=0, epochs=2)
    assert int(model.optimizer.iterations) == 2


def frozen_and_compiled_again(model):
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def in_another_model(model):
    model.layers[0].trainable = False
    inputs = keras.Input((6, 6, 2))
    last = keras.layers.Conv2D(2, 1)
    return keras.Model(inputs, last(model.layers[0](inputs)), name="other")


@pytest.mark.parametrize("former", ["gone", *slowly("alive", "compiled again")])
@pytest.mark.parametrize("change", [frozen_and_compiled_again, in_another_model])
def test_layers_that_are_frozen_and_trained_again_follow_the_schedule(change, former):
    model = make_model(tfag.EveryNthStep("zero", n=2))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, TARGETS, verbose=0, callbacks=[tfag.ApproximationCallback()])
    other, first = change(model), model.layers[0]
    if former == "compiled again":
        model.compile(keras.optimizers.SGD(0.1), "mse")
    if former == "gone":
        del model
        gc.collect()
    callbacks = [tfag.ApproximationCallback()]
    other.compile(keras.optimizers.SGD(0.1), "mse")
    other.fit(X, TARGETS, verbose=0, callbacks=callbacks)
    if former == "gone" or change is frozen_and_compiled_again:
        assert first.gradient_policy.step.variable is other.optimizer.iterations.value
    first.trainable = True
    other.compile(keras.optimizers.SGD(0.1), "mse")
    before = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: before.append(first.kernel.numpy())
    )
    other.fit(X, TARGETS, batch_size=2, verbose=0, callbacks=[*callbacks, record])
    after = [*before[1:], first.kernel]
    moved = [np.any(a != b) for a, b in zip(before, after, strict=True)]
    assert moved == [True, False]


def test_loop_of_ones_own_may_have_another_optimizer_than_the_model():
    model = make_model(tfag.Alternate("zero"))
    model.compile("adam", "mse")
    optimizer = keras.optimizers.SGD(0.01)
    tfag.bind_step(model, optimizer)
    train_step(model, optimizer)(X)
    model.compile("adam", "mse")
    train_step(model, optimizer)(X)
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize("model", ["model", None, []], ids=str)
def test_what_is_no_model_is_refused(model):
    with pytest.raises(TypeError, match=r"^model=.* must be a keras.Model"):
        tfag.bind_step(model, keras.optimizers.SGD())
