"""Callbacks begin anew with another model, and go on with the same one."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from event_files import read_events
from marks import slowly

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import approximated_layers

X = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)


def make_model(schedule=None):
    layer = keras.layers.Conv2D(2, 3, padding="same", name="convolution")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    tfag.approximate_gradients(model, schedule or tfag.EveryNthStep("zero", n=2))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def fit(model, *callbacks, epochs=3):
    callbacks = [tfag.ApproximationCallback(), *callbacks]
    return model.fit(X, X, epochs=epochs, verbose=0, callbacks=callbacks)


def is_exact(model):
    step = int(model.optimizer.iterations)
    (layer,) = approximated_layers(model)
    methods = [layer.gradient_policy.method_at(step + more) for more in range(2)]
    return set(methods) == {tfag.FullGradient()}


def plateau():
    # A learning rate of zero improves nothing.
    return tfag.SwitchToFullOnPlateau("loss", patience=1)


def again(callback):
    return callback


@pytest.mark.parametrize("reused", [again, *slowly(copy.deepcopy, copy.copy)])
def test_plateau_of_one_model_is_none_of_the_next(reused):
    callback = plateau()
    models = [make_model() for _ in range(2)]
    for model in models:
        callback = reused(callback)
        fit(model, callback, epochs=1)
        assert not is_exact(model)
        assert int(callback.state.full_from) == -1
        fit(model, callback, epochs=2)
        assert is_exact(model)
    # Each has kept its own state.
    fit(models[0], callback, epochs=1)
    assert is_exact(models[0])


def test_settings_survive_a_deep_copy():
    callback = tfag.SwitchToFullOnPlateau("mae", 7, 1, min_delta=0.5)
    fit(make_model(), plateau())
    duplicate = copy.deepcopy(callback)
    settings = ("monitor", "patience", "verbose", "mode", "min_delta")
    assert [getattr(duplicate, name) for name in settings] == [
        getattr(callback, name) for name in settings
    ]
    assert duplicate.state is not callback.state
    shown = copy.deepcopy([tfag.ApproximationCallback(show_share=True)])[0]
    assert "share_approximated" in fit(make_model(), shown).history


def test_used_callback_is_pickled_as_those_of_keras_are():
    callback = tfag.ApproximationCallback(show_share=True)
    fit(make_model(), callback, epochs=1)
    again = pickle.loads(pickle.dumps(callback))
    assert "share_approximated" in fit(make_model(), again).history


def test_state_goes_on_in_later_calls_of_fit_and_in_files(tmp_path):
    model, callback = make_model(), plateau()
    fit(model, callback)
    model.save_weights(tmp_path / "model.weights.h5")
    resumed = make_model()
    restore = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: resumed.load_weights(
            tmp_path / "model.weights.h5", skip_mismatch=False
        )
    )
    fit(resumed, plateau(), restore, epochs=1)
    assert is_exact(resumed)


@pytest.mark.parametrize("callback", [plateau, None])
def test_new_conversion_of_a_switched_model_begins_anew(callback):
    model, first = make_model(), plateau()
    fit(model, first)
    assert is_exact(model)
    tfag.approximate_gradients(model, tfag.EveryNthStep("zero", n=2))
    fit(model, callback() if callback else first, epochs=1)
    assert not is_exact(model)
    tfag.strip_approximation(model)
    assert not hasattr(model, "tf_approxgrad_plateau")


def test_checkpointed_state_is_that_of_the_first_model():
    callback = plateau()
    checkpoint = tf.train.Checkpoint(state=callback.state)
    model = make_model()
    fit(model, callback)
    assert checkpoint.state is callback.state
    assert callback.state.is_full


@pytest.mark.parametrize("reused", [again, *slowly(copy.deepcopy)])
def test_summaries_of_two_models_are_of_each(reused, tmp_path):
    data = tf.data.Dataset.from_tensor_slices((X, X)).batch(2)
    callback = tfag.ApproximationSummaries(tmp_path / "a", data=data)
    fit(make_model(tfag.Constant("zero")), callback, epochs=2)
    callback = reused(callback)
    callback.log_dir = str(tmp_path / "b")
    fit(make_model(tfag.Constant("max")), callback, epochs=1)
    events = read_events(tmp_path / "b")
    assert events["convolution/method"] == {1: "max"}
    assert set(events["convolution/max/cosine"]) == {1}
