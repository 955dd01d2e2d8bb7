"""Layers that train exactly against their schedule are named, and counted so."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from event_files import read_events
from recording import RAN, Recording

import tf_approxgrad as tfag
from tf_approxgrad import _compat

X = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype(np.float32)
EXACT = r"^inner of model .* train exactly, although the schedule"


def conv(name):
    return keras.layers.Conv2D(2, 3, padding="same", name=name)


class TwoParts(keras.Model):
    """Its call decides how the first part is called."""

    def __init__(self, call_part):
        super().__init__()
        self.part = keras.Sequential([keras.Input(X.shape[1:]), conv("inner")])
        self.last = conv("last")
        self.call_part = call_part

    def call(self, x, training=None):
        return self.last(self.call_part(self.part, x, training), training=training)


def made(call_part, schedule=None, **compiled):
    model = TwoParts(call_part)
    model(X)
    schedule = schedule or tfag.Constant("max")
    tfag.approximate_gradients(model, schedule)
    model.compile(keras.optimizers.SGD(0.01), "mse", **compiled)
    return model


def fit(model, *callbacks, **arguments):
    callbacks = [tfag.ApproximationCallback(show_share=True), *callbacks]
    defaults = {"batch_size": 4, "verbose": 0}
    return model.fit(X, 0 * X, callbacks=callbacks, **defaults | arguments).history


def in_inference(part, x, training):
    return part(x, training=False)


def stopped(part, x, training):
    # Its filters get no gradient.
    return tf.stop_gradient(part(x, training=training)) + x


@pytest.mark.parametrize("call_part", [in_inference, stopped])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_layer_that_trains_exactly_is_named_and_has_no_share(
    call_part, run_eagerly, tmp_path
):
    model = made(call_part, run_eagerly=run_eagerly)
    summaries = tfag.ApproximationSummaries(tmp_path, update_freq=2)
    with pytest.warns(UserWarning, match=EXACT):
        history = fit(model, summaries)
    assert history["share_approximated"] == [0.5]
    events = read_events(tmp_path / "approximation")
    assert events["inner/share_approximated"] == {2: 0.0}
    assert events["last/share_approximated"] == {2: 1.0}
    report = tfag.conversion_report(model)
    assert report.rows[0].note.startswith("max; but exact in training")
    assert [row.converted_share > 0 for row in report.rows] == [False, True]
    assert report.share == pytest.approx(0.5)


@pytest.mark.parametrize("call_part", [in_inference, stopped])
def test_frozen_layer_is_not_named(call_part):
    model = made(call_part)
    model.part.trainable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model)


def test_layer_whose_schedule_is_exact_is_not_named():
    model = made(in_inference, tfag.Constant("max", layers=["last"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert fit(model)["share_approximated"] == [0.5]


def test_second_fit_says_what_it_traces_itself():
    model = made(lambda part, x, training: part(x, training=training))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model)
        fit(model)
    model.call_part = in_inference
    model.compile(keras.optimizers.SGD(0.01), "mse")
    with pytest.warns(UserWarning, match=EXACT):
        assert fit(model)["share_approximated"] == [0.5]
    # Nothing is traced again, and nothing is otherwise.
    assert fit(model)["share_approximated"] == [0.5]
    notes = [row.note for row in tfag.conversion_report(model).rows]
    assert ["but exact" in note for note in notes] == [True, False]


def test_schedule_of_the_callback_changes_nothing_that_was_traced():
    model = made(stopped)
    for _ in range(2):
        callback = tfag.ApproximationCallback(tfag.Constant("max"), show_share=True)
        history = model.fit(X, 0 * X, verbose=0, callbacks=[callback]).history
        assert history["share_approximated"] == [0.5]


def in_both_ways(part, x, training):
    return part(x, training=training) + part(x, training=False)


def test_layer_that_is_exact_in_some_calls_is_named():
    model = made(in_both_ways)
    words = "^inner of model .* train exactly in some calls"
    with pytest.warns(UserWarning, match=words):
        assert fit(model)["share_approximated"] == [1.0]


def test_gradients_outside_training_are_no_training():
    model = made(lambda part, x, training: part(x, training=training))
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(model(x, training=False) ** 2)
    tape.gradient(loss, x)
    report = tfag.conversion_report(model)
    assert ([row.note for row in report.rows], report.share) == (["max", "max"], 1.0)


def test_frozen_layers_have_no_part_in_the_share():
    model = made(lambda part, x, training: part(x, training=training))
    model.part.trainable = False
    tfag.approximate_gradients(model, tfag.Constant("max", layers=["inner"]))
    assert fit(model)["share_approximated"] == [0.0]


def test_switch_to_full_names_nothing():
    model = made(stopped)
    switch = tfag.SwitchToFullOnPlateau("loss", patience=1, min_delta=1e9)
    with pytest.warns(UserWarning, match=EXACT) as caught:
        fit(model, switch, epochs=3)
    assert len([x for x in caught if "train exactly" in str(x.message)]) == 1


def test_evaluation_and_prediction_are_no_training():
    model = made(lambda part, x, training: part(x, training=training))
    model.predict(X, verbose=0)
    model.evaluate(X, 0 * X, verbose=0)
    model(X)
    assert [row.note for row in tfag.conversion_report(model).rows] == ["max", "max"]
    fit(model, validation_data=(X, 0 * X))
    assert [row.note for row in tfag.conversion_report(model).rows] == ["max", "max"]


def test_report_says_so_in_a_loop_of_ones_own():
    model = made(in_inference)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(X, training=True))
    tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    notes = [row.note for row in tfag.conversion_report(model).rows]
    assert [note.partition(";")[0] for note in notes] == ["max", "max"]
    assert ["but exact in training" in note for note in notes] == [True, False]


def vectorized(part, x, training):
    return tf.vectorized_map(lambda e: part(e[None], training=training)[0], x)


def test_layer_in_a_vectorized_map_is_approximated():
    RAN.clear()
    model = made(vectorized, tfag.Constant(Recording()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert fit(model)["share_approximated"] == [1.0]
    assert sorted(RAN) == [("approximate", 1)] * 2 + [("approximate", 2)] * 2


def test_layer_in_a_vectorized_map_of_other_versions_is_named(monkeypatch):
    """TensorFlow's own conversion drops the gradient."""
    name = "tensorflow.python.ops.parallel_for.pfor"
    registry = _compat.importlib.import_module(name)._pfor_converter_registry
    monkeypatch.setitem(registry, "IdentityN", _drops_gradients)
    with pytest.warns(UserWarning, match=EXACT):
        assert fit(made(vectorized))["share_approximated"] == [0.5]


def _drops_gradients(pfor_input):
    return [
        type(x)(tf.identity(x.t), x.is_stacked, x.is_sparse_stacked)
        for x in pfor_input.inputs
    ]


def test_frames_of_time_distributed_are_approximated():
    # As many frames as examples, which Keras takes for each other.
    inputs = keras.Input((None, 6, 6, 2))
    model = keras.Model(inputs, keras.layers.TimeDistributed(conv("inner"))(inputs))
    tfag.approximate_gradients(model, tfag.Constant("zero"))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.stack([X, X], axis=1)[:2]
    data = tf.data.Dataset.from_generator(
        lambda: [(x, 0 * x)],
        output_signature=(tf.TensorSpec([None, None, 6, 6, 2]),) * 2,
    )
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(data, verbose=0, callbacks=[tfag.ApproximationCallback()])
    kernel, bias = (
        np.any(a != b) for a, b in zip(before, model.trainable_weights, strict=True)
    )
    assert (kernel, bias) == (False, True)
