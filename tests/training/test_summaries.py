"""ApproximationSummaries: what it writes is what training did."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from event_files import read_events
from marks import slowly

import tf_approxgrad as tfag

STEPS = 8
X = np.random.default_rng(0).normal(size=(4 * STEPS, 6, 6, 2)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(4 * STEPS, 6, 6, 3)).astype(np.float32)
SCHEDULE = tfag.TableSchedule(
    [["full"] * 4, ["full", "max", "full", "zero"], ["random"] * 4]
)


def make_model(schedule=SCHEDULE, **compiled):
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Conv2D(4, 3, padding="same", name="first"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Conv2D(4, 3, padding="same", name="second"),
        keras.layers.Conv2D(3, 3, padding="same", name="third"),
    ]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    model = tfag.approximate_gradients(model, schedule)
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"], **compiled)
    return model


def fit(model, *callbacks, **arguments):
    callbacks = [tfag.ApproximationCallback(), *callbacks]
    defaults = {"batch_size": 4, "verbose": 0, "shuffle": False}
    return model.fit(X, Y, callbacks=callbacks, **(defaults | arguments))


def written(tmp_path, model=None, **arguments):
    callback = tfag.ApproximationSummaries(tmp_path, **arguments)
    fit(model or make_model(), callback)
    return read_events(tmp_path / "approximation")


def test_methods_and_shares_are_those_of_the_schedule(tmp_path):
    events = written(tmp_path, update_freq=2)
    assert events["second/method"] == {2: "max", 4: "zero", 6: "max", 8: "zero"}
    assert events["first/method"] == dict.fromkeys((2, 4, 6, 8), "full")
    assert events["first/share_approximated"] == dict.fromkeys((2, 4, 6, 8), 0.0)
    assert events["second/share_approximated"] == dict.fromkeys((2, 4, 6, 8), 0.5)
    assert events["third/share_approximated"] == dict.fromkeys((2, 4, 6, 8), 1.0)
    assert events["share_approximated"] == dict.fromkeys((2, 4, 6, 8), 0.5)
    assert not any("cosine" in tag for tag in events)


@pytest.mark.parametrize(
    ("update_freq", "steps_per_execution", "steps"),
    [
        ("epoch", 1, [8]),
        (3, 4, [4, 8]),
        pytest.param(3, 1, [3, 6], marks=pytest.mark.slow),
        pytest.param(1, 1, range(1, 9), marks=pytest.mark.slow),
    ],
)
def test_updates_come_as_often_as_asked(
    update_freq, steps_per_execution, steps, tmp_path
):
    model = make_model(steps_per_execution=steps_per_execution)
    events = written(tmp_path, model, update_freq=update_freq)
    assert [*events["share_approximated"]] == [*steps]


def test_fidelity_is_that_of_the_gradients_on_the_batch(tmp_path):
    model = make_model(tfag.Alternate(tfag.MaxGradient(k=2), layers=1))
    batch = (X[:6], Y[:6])
    # A learning rate of zero: the weights when it is measured are those of now.
    model.optimizer.learning_rate = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    events = written(tmp_path, model, update_freq="epoch", data=batch)
    kernels = [layer.kernel.value for layer in model.layers if hasattr(layer, "kernel")]
    gradients = []
    for step in (0, 1):
        tfag.bind_step(model, tf.Variable(step, dtype=tf.int64))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(batch[0], training=True) - batch[1]) ** 2)
        gradients.append([g.numpy().ravel() for g in tape.gradient(loss, kernels)])
    for name, exact, found in zip(
        ("first", "second", "third"), *gradients, strict=True
    ):
        norms = np.linalg.norm(exact), np.linalg.norm(found)
        expected = {
            "cosine": exact @ found / (norms[0] * norms[1]),
            "relative_error": np.linalg.norm(found - exact) / norms[0],
            "norm_ratio": norms[1] / norms[0],
        }
        for measure, value in expected.items():
            (actual,) = events[f"{name}/max(k=2)/{measure}"].values()
            assert actual == pytest.approx(value, rel=1e-3)


def test_every_method_of_a_layer_is_measured(tmp_path):
    events = written(tmp_path, data=(X[:4], Y[:4]))
    measured = {tag.rsplit("/", 1)[0] for tag in events if tag.endswith("/cosine")}
    assert measured == {"second/max", "second/zero", "third/random"}
    assert events["second/zero/cosine"] == {STEPS: 0.0}
    assert events["second/zero/relative_error"] == {STEPS: 1.0}
    assert events["second/zero/norm_ratio"] == {STEPS: 0.0}


@pytest.mark.parametrize("jit_compile", [False, *slowly(True)])
def test_measuring_changes_nothing_in_training(jit_compile, tmp_path):
    results = []
    for callbacks in (
        [],
        [
            tfag.ApproximationSummaries(
                tmp_path, update_freq=1, data=(X[:4], Y[:4], Y[:4, ..., 0] ** 2)
            )
        ],
    ):
        model = make_model(jit_compile=jit_compile)
        history = fit(model, *callbacks)
        variables = [variable.numpy() for variable in model.variables]
        results.append((variables, history.history))
    (plain, history), (measured, same_history) = results
    assert history == same_history
    for a, b in zip(plain, measured, strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_measurement_takes_the_next_batch_of_a_dataset(tmp_path):
    data = tf.data.Dataset.from_tensor_slices((X[:4], Y[:4])).batch(2)
    model = make_model(tfag.Constant("max"))
    model.optimizer.learning_rate = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    events = written(tmp_path, model, update_freq=1, data=data)
    values = [*events["second/max/relative_error"].values()]
    assert values[0] != values[1]
    assert values[:2] * 3 == pytest.approx(values[:6], rel=1e-5)


def test_layers_of_the_same_name_are_told_apart(tmp_path):
    def part(name):
        layers = [keras.layers.Conv2D(2, 3, padding="same", name="conv")]
        return keras.Sequential([keras.Input((6, 6, 2)), *layers], name=name)

    inputs = keras.Input((6, 6, 2))
    last = keras.layers.Conv2D(2, 3, padding="same", name="last")
    model = keras.Model(inputs, last(part("b")(part("a")(inputs))))
    model = tfag.approximate_gradients(model, tfag.Constant("zero", layers=[2, 3]))
    model.compile("sgd", "mse")
    callback = tfag.ApproximationSummaries(tmp_path, data=(X[:4], X[:4]))
    callbacks = [tfag.ApproximationCallback(), callback]
    model.fit(X, X, batch_size=4, verbose=0, callbacks=callbacks)
    events = read_events(tmp_path / "approximation")
    methods = {tag: value for tag, value in events.items() if tag.endswith("/method")}
    assert methods == {
        "conv/1/method": {STEPS: "full"},
        "conv/2/method": {STEPS: "zero"},
        "last/method": {STEPS: "zero"},
    }
    assert events["conv/1/share_approximated"] == {STEPS: 0.0}
    assert events["conv/2/share_approximated"] == {STEPS: 1.0}
    assert events["conv/2/zero/norm_ratio"] == {STEPS: 0.0}


def test_layer_that_is_called_twice_is_measured_by_its_sum(tmp_path):
    shared = keras.layers.Conv2D(2, 3, padding="same", name="shared")
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, shared(shared(inputs)))
    # All positions kept: each call's gradient is exact, and so must be the sum.
    method = tfag.MaxGradient(k=36, scale=1.0)
    model = tfag.approximate_gradients(model, tfag.Constant(method))
    model.compile("sgd", "mse")
    callback = tfag.ApproximationSummaries(tmp_path, data=(X[:4], X[:4]))
    callbacks = [tfag.ApproximationCallback(), callback]
    model.fit(X, X, verbose=0, callbacks=callbacks)
    events = read_events(tmp_path / "approximation")
    (ratio,) = events[f"shared/{method.label}/norm_ratio"].values()
    assert ratio == pytest.approx(1.0, rel=1e-5)


class Mapped(keras.layers.Layer):
    """Calls a convolution in a loop's graph."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Conv2D(2, 3, padding="same", name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x, training=None):
        return tf.map_fn(lambda y: self.inner(y[None])[0], x)


def test_layer_that_is_always_full_may_be_called_in_a_loop(tmp_path):
    last = keras.layers.Conv2D(2, 3, padding="same", name="last")
    model = keras.Sequential([keras.Input((6, 6, 2)), Mapped(), last])
    schedule = tfag.Constant("zero", layers="last")
    model = tfag.approximate_gradients(model, schedule)
    model.compile("sgd", "mse")
    callback = tfag.ApproximationSummaries(tmp_path, data=(X[:4], X[:4]))
    callbacks = [tfag.ApproximationCallback(), callback]
    model.fit(X, X, verbose=0, callbacks=callbacks)
    events = read_events(tmp_path / "approximation")
    assert list(events["last/zero/norm_ratio"].values()) == [0.0]
    assert "inner/full/norm_ratio" not in events


@pytest.mark.parametrize("dataset", [False, True])
def test_model_whose_loss_needs_no_target_is_measured_without_one(dataset, tmp_path):
    inputs = keras.Input((6, 6, 2))
    outputs = keras.layers.Conv2D(2, 3, name="conv", activity_regularizer="l2")(inputs)
    model = keras.Model(inputs, outputs)
    # All positions kept, as above.
    method = tfag.MaxGradient(k=36, scale=1.0)
    model = tfag.approximate_gradients(model, tfag.Constant(method))
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices((X,)).batch(4) if dataset else (X[:4],)
    callback = tfag.ApproximationSummaries(tmp_path, data=data)
    model.fit(X, verbose=0, callbacks=[tfag.ApproximationCallback(), callback])
    events = read_events(tmp_path / "approximation")
    (ratio,) = events[f"conv/{method.label}/norm_ratio"].values()
    assert ratio == pytest.approx(1.0, rel=1e-5)


WITHOUT_TENSORBOARD = """
import sys
sys.modules["tensorboard"] = None
import keras, numpy as np
import tf_approxgrad as tfag
model = tfag.models.cnn2((8, 8, 1), width=0.1)
model = tfag.approximate_gradients(model, tfag.Alternate("max"))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x, y = np.ones((4, 8, 8, 1), "float32"), np.arange(4)
summaries = tfag.ApproximationSummaries(sys.argv[1], data=(x, y))
model.fit(x, y, verbose=0, callbacks=[tfag.ApproximationCallback(), summaries])
"""


@pytest.mark.slow
def test_writing_needs_no_tensorboard(tmp_path):
    command = [sys.executable, "-c", WITHOUT_TENSORBOARD, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "conv2/max/cosine" in read_events(tmp_path / "approximation")


def test_tensorboard_reads_what_was_written(tmp_path):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard isn't installed",
    )
    written(tmp_path, update_freq=2, data=(X[:4], Y[:4]))
    reader = event_accumulator.EventAccumulator(str(tmp_path / "approximation"))
    reader.Reload()
    summaries = reader.summary_metadata
    assert summaries["second/method"].plugin_data.plugin_name == "text"
    assert summaries["second/max/cosine"].plugin_data.plugin_name == "scalars"
    steps = [event.step for event in reader.Tensors("second/max/cosine")]
    assert steps == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"update_freq": "batch"},
            ValueError,
            "update_freq='batch' must be 'epoch' or",
        ),
        ({"update_freq": 0}, ValueError, "update_freq must be an integer >= 1, got 0"),
        ({"data": X}, TypeError, r"data must be a batch \(x, y\).*of type nda"),
        ({"data": (X, X, X, X)}, ValueError, r"data must be \(x,\), .*got 4 elements"),
        ({"data": []}, ValueError, "got 0 elements"),
    ],
)
def test_wrong_argument_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        tfag.ApproximationSummaries("logs", **arguments)


class WithoutLoss(keras.Sequential):
    """Its training step has a loss of its own."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
        return {"loss": loss}


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (WithoutLoss, (X[:4], Y[:4]), "compute_loss.*No loss to compute"),
        (keras.Sequential, (X[:4, :, :, :1], Y[:4]), "doesn't fit model"),
        (keras.Sequential, (X[:4], Y[:4, :3]), "doesn't fit model"),
    ],
    ids=["no loss", "other inputs", "other targets"],
)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_data_that_cannot_be_measured_is_refused_before_the_first_step(
    model, data, message, as_dataset, tmp_path
):
    convolution = keras.layers.Conv2D(3, 3, padding="same")
    model = model([keras.Input((6, 6, 2)), convolution])
    tfag.approximate_gradients(model, tfag.Constant("row-sampled"))
    model.compile("sgd", None if isinstance(model, WithoutLoss) else "mse")
    if as_dataset:
        data = tf.data.Dataset.from_tensors(data)
    before = model.get_weights()
    # Its place among the callbacks doesn't matter, though it needs the step.
    callbacks = [
        tfag.ApproximationSummaries(tmp_path, data=data),
        tfag.ApproximationCallback(),
    ]
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=callbacks)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_model_that_is_not_converted_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 1)])
    model.compile("sgd", "mse")
    callback = tfag.ApproximationSummaries(tmp_path)
    with pytest.raises(ValueError, match="no converted layer"):
        model.fit(X, Y, verbose=0, callbacks=[callback])


class OwnStep(keras.Sequential):
    """Trains with an optimizer and a loss of its own."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.own_optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        return {"loss": loss}


def make_own_step():
    convolution = keras.layers.Conv2D(3, 3, padding="same")
    model = OwnStep([keras.Input((6, 6, 2)), convolution])
    model = tfag.approximate_gradients(model, tfag.Constant("max"))
    model.own_optimizer = keras.optimizers.SGD(0.01)
    model.compile("sgd")
    return model


def test_optimizer_that_takes_no_step_is_told(tmp_path):
    callback = tfag.ApproximationSummaries(tmp_path)
    with pytest.warns(UserWarning, match=r"written nothing.*taken no step"):
        make_own_step().fit(X, Y, callbacks=[callback], verbose=0)
    assert "share_approximated" not in read_events(tmp_path / "approximation")
