"""SwitchToFullOnPlateau: from approximate to exact gradients when a metric stalls."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from recording import RAN, Recording

import tf_approxgrad as tfag

STEPS = 3
X = np.random.default_rng(0).normal(size=(4 * STEPS, 6, 6, 2)).astype(np.float32)
Y = np.zeros([len(X), 6, 6, 2], np.float32)


class Say(keras.callbacks.Callback):
    """Puts the epochs' values of a metric into the logs, as a metric would."""

    def __init__(self, values, name="val_loss", first=0):
        super().__init__()
        self.values, self.name, self.first = values, name, first

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def no_record():
    RAN.clear()


def make_model(schedule=None, **compiled):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(2, 3, padding="same") for _ in range(2)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    model = tfag.approximate_gradients(model, schedule or tfag.Constant(Recording()))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", **compiled)
    return model


def fit(model, callback, values, more=(), name="val_loss", **arguments):
    callbacks = [tfag.ApproximationCallback(), Say(values, name), callback, *more]
    defaults = {"batch_size": 4, "verbose": 0, "epochs": len(values)}
    model.fit(X, Y, callbacks=callbacks, **(defaults | arguments))


# Epochs 0 and 1 improve; 2 and 3 don't.
STALLS = [2.0, 1.0, 1.0, 1.0, 0.5, 0.4]


def switched(model):
    """The model after the shortest training that ends in a switch."""
    fit(model, tfag.SwitchToFullOnPlateau(patience=1), [1.0, 1.0])
    assert int(model.tf_approxgrad_plateau.state.full_from) == 2 * STEPS
    RAN.clear()
    return model


@pytest.mark.parametrize("steps_per_execution", [2, *slowly(1)])
def test_traced_training_is_full_from_the_step_of_the_switch(steps_per_execution):
    model = make_model(steps_per_execution=steps_per_execution)
    callback = tfag.SwitchToFullOnPlateau(patience=2)
    fit(model, callback, STALLS)
    assert len(RAN) == 4 * STEPS * 2
    for layer in model.layers:
        schedule = layer.gradient_policy.schedule
        assert schedule == tfag.Until(tfag.Constant(Recording()), end=4 * STEPS)
    assert int(callback.state.full_from) == 4 * STEPS


@pytest.mark.parametrize(
    ("values", "arguments", "epochs"),
    [
        (STALLS, {"patience": 3}, 6),
        ([1.0, 2.0, 3.0, 4.0], {"patience": 1, "mode": "max"}, 4),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (STALLS, {"patience": 1}, 3),
                ([1.0, 0.9, 0.8, 0.7, 0.6], {"patience": 1, "min_delta": 0.5}, 2),
                ([1.0, 2.0, 3.0, 4.0], {"patience": 2, "mode": "min"}, 3),
                ([3.0, np.nan, np.nan, 1.0], {"patience": 2}, 3),
            )
        ),
    ],
)
def test_switch_comes_after_so_many_epochs_without_an_improvement(
    values, arguments, epochs
):
    fit(make_model(), tfag.SwitchToFullOnPlateau(**arguments), values)
    assert len(RAN) == epochs * STEPS * 2


@pytest.mark.parametrize(
    "name", ["val_accuracy", *slowly("auc", "recall_at_precision")]
)
def test_mode_is_inferred_from_the_name(name):
    callback = tfag.SwitchToFullOnPlateau(monitor=name, patience=2)
    fit(make_model(), callback, [0.1, 0.2, 0.3, 0.4], name=name)
    assert not callback.state.is_full
    assert tfag.SwitchToFullOnPlateau("val_mse").mode == "min"


def test_it_says_what_it_did(capsys):
    schedule = tfag.Alternate(Recording())
    callback = tfag.SwitchToFullOnPlateau(patience=2, verbose=1)
    fit(make_model(schedule), callback, STALLS)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "Switch" in x]
    assert line == (
        "Epoch 4: SwitchToFullOnPlateau: val_loss has not improved on 1 for 2 epochs. "
        "All filter gradients are full from step 12 on; up to there 25% were "
        "approximated."
    )


@pytest.mark.parametrize("verbose", [1, *slowly(0)])
def test_it_says_that_a_new_schedule_is_not_followed_by_a_switched_model(
    verbose, capsys
):
    model = switched(make_model())
    callbacks = [
        tfag.ApproximationCallback(tfag.Alternate(Recording())),
        tfag.SwitchToFullOnPlateau("loss", patience=2, verbose=verbose),
    ]
    model.fit(X, Y, batch_size=4, verbose=0, epochs=2, callbacks=callbacks)
    assert RAN == []
    words = "switched before, at step 6. All filter gradients stay full."
    assert capsys.readouterr().out.count(words) == verbose


def test_it_is_quiet_by_default(capsys):
    switched(make_model())
    assert capsys.readouterr().out == ""


def test_missing_metric_is_warned_of():
    with pytest.warns(UserWarning, match=r"`val_auc`, which is not available.*loss"):
        fit(make_model(), tfag.SwitchToFullOnPlateau("val_auc"), [1.0])


@pytest.mark.parametrize(
    "interrupted", [4, *slowly(3, 5)], ids=["at", "before", "after"]
)
def test_run_resumed_by_backup_and_restore_switches_where_it_would_have(
    interrupted, tmp_path
):
    def callbacks():
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return tfag.SwitchToFullOnPlateau(patience=2), backup

    callback, backup = callbacks()
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), callback, STALLS, [backup, Interrupt(interrupted)])
    assert len(RAN) == min(interrupted, 4) * STEPS * 2
    callback, backup = callbacks()
    model = make_model()
    fit(model, callback, STALLS, [backup])
    assert len(RAN) == 4 * STEPS * 2
    assert int(model.optimizer.iterations) == 6 * STEPS
    assert int(callback.state.full_from) == 4 * STEPS


def test_weights_file_holds_the_switch(tmp_path):
    path = tmp_path / "model.weights.h5"
    switched(make_model()).save_weights(path)
    again = make_model()
    again.optimizer.build(again.trainable_variables)
    callback = tfag.SwitchToFullOnPlateau(patience=2)
    callback.set_model(again)
    again.load_weights(path)
    fit(again, callback, STALLS[:2])
    assert RAN == []


def test_keras_file_holds_the_schedule_of_the_switch(tmp_path):
    switched(make_model()).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    fit(again, tfag.SwitchToFullOnPlateau(patience=2), STALLS[:2])
    assert RAN == []


@pytest.mark.parametrize(
    "schedule",
    [
        tfag.EveryNthLayer(Recording(), n=2, start=2),
        *slowly(tfag.Alternate(Recording())),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_switched_model_with_layers_exact_all_along_trains_on(schedule, tmp_path):
    model = make_model(schedule)
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS)
    assert {x.gradient_policy.schedule for x in model.layers} == {
        tfag.Until(schedule, end=4 * STEPS)
    }
    model.save(tmp_path / "model.keras")
    RAN.clear()
    for again in (model, keras.models.load_model(tmp_path / "model.keras")):
        fit(again, tfag.SwitchToFullOnPlateau(patience=2), STALLS[:2])
        callbacks = [tfag.ApproximationCallback()]
        again.fit(X, Y, batch_size=4, verbose=0, callbacks=callbacks)
    assert RAN == []


def test_checkpoint_that_names_the_state_holds_it(tmp_path):
    model = switched(make_model())
    state = model.tf_approxgrad_plateau.state
    checkpoint = tf.train.Checkpoint(model=model, plateau=state)
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    again, callback = make_model(), tfag.SwitchToFullOnPlateau(patience=2)
    again.optimizer.build(again.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=again, plateau=callback.state)
    checkpoint.restore(path).assert_consumed()
    fit(again, callback, STALLS[:2])
    assert RAN == []


def test_files_of_weights_stay_those_of_the_plain_model(tmp_path):
    model = switched(make_model())
    names = [weight.path for weight in make_model().weights]
    assert len(model.weights) == len(names)
    assert [metric.name for metric in model.metrics] == ["loss"]
    model.save_weights(tmp_path / "a.weights.h5")
    plain = tfag.strip_approximation(make_model())
    plain.load_weights(tmp_path / "a.weights.h5")
    for a, b in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # And of a model that knows nothing of a plateau, into one that does.
    plain.save_weights(tmp_path / "b.weights.h5")
    before = int(model.tf_approxgrad_plateau.state.full_from)
    model.load_weights(tmp_path / "b.weights.h5")
    assert int(model.tf_approxgrad_plateau.state.full_from) == before


def test_exported_model_holds_nothing_of_it(tmp_path):
    model = switched(make_model(tfag.Constant("max")))
    tf.saved_model.save(model, str(tmp_path / "model"))
    model.export(str(tmp_path / "exported"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert not hasattr(loaded, "tf_approxgrad_plateau")


def test_other_metric_starts_with_a_best_of_its_own():
    model = make_model()
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS[:3])
    accuracy = tfag.SwitchToFullOnPlateau("val_accuracy", patience=2)
    # An accuracy below the best loss isn't a stall.
    fit(model, accuracy, [0.1, 0.2], name="val_accuracy")
    assert float(accuracy.state.best) == 0.2
    assert not accuracy.state.is_full
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), [9.0, 8.0])
    assert len(RAN) == 7 * STEPS * 2


def test_other_mode_starts_with_a_best_of_its_own():
    model = make_model()
    fit(model, tfag.SwitchToFullOnPlateau(patience=1, mode="min"), [3.0, 2.0])
    falling = tfag.SwitchToFullOnPlateau(patience=1, mode="max")
    fit(model, falling, [1.0, 1.5])
    assert not falling.state.is_full


def test_same_metric_goes_on_waiting_in_the_next_fit():
    model = make_model()
    for values in (STALLS[:3], STALLS[3:]):
        fit(model, tfag.SwitchToFullOnPlateau(patience=2), values)
    assert len(RAN) == 4 * STEPS * 2


def test_weights_file_says_what_was_monitored(tmp_path):
    model = make_model()
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS[:3])
    model.save_weights(tmp_path / "model.weights.h5")
    for name, waited in (("val_loss", 1), ("val_accuracy", 0)):
        again = make_model()
        again.optimizer.build(again.trainable_variables)
        callback = tfag.SwitchToFullOnPlateau(name, patience=2)
        callback.set_model(again)
        again.load_weights(tmp_path / "model.weights.h5")
        callback.on_epoch_begin(0)
        assert int(callback.state.wait) == waited


def test_model_stays_full_whatever_is_monitored_next():
    model = switched(make_model())
    accuracy = tfag.SwitchToFullOnPlateau("val_accuracy", patience=2)
    fit(model, accuracy, [0.1, 0.2], name="val_accuracy")
    assert RAN == []


@pytest.mark.parametrize(
    "schedule", [tfag.Constant(Recording()), *slowly(None)], ids=str
)
def test_model_stays_full_with_a_new_optimizer(schedule):
    layers = [
        tfag.ApproxConv2D(2, 3, padding="same", method=Recording()) for _ in range(2)
    ]
    plain = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    model = plain if schedule is None else make_model(schedule)
    model.compile("sgd", "mse")
    switched(model)
    model.compile("sgd", "mse")
    for _ in range(2):
        fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS[:2])
    assert int(model.optimizer.iterations) == 4 * STEPS
    assert RAN == []


def test_two_of_them_in_one_fit_are_refused():
    callbacks = [tfag.SwitchToFullOnPlateau(m) for m in ("val_loss", "val_accuracy")]
    with pytest.raises(ValueError, match="one SwitchToFullOnPlateau"):
        fit(make_model(), callbacks[0], [1.0], [callbacks[1]])
    assert RAN == []


def test_model_of_layers_with_methods_of_their_own_switches():
    layers = [
        tfag.ApproxConv2D(2, 3, padding="same", method=Recording(t)) for t in "ab"
    ]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    model.compile("sgd", "mse")
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS)
    assert len(RAN) == 4 * STEPS * 2
    assert model.layers[1].gradient_policy.method_at(0) == Recording("b")


def test_model_that_mixes_such_layers_with_plain_ones_switches():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(2, 3, padding="same"),
            tfag.ApproxConv2D(2, 3, padding="same", method=Recording("a")),
            keras.layers.Conv2D(2, 3, padding="same"),
            tfag.ApproxConv2D(2, 3, padding="same", method=Recording("b")),
        ]
    )
    model.compile("sgd", "mse")
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS)
    assert len(RAN) == 4 * STEPS * 2
    # As it was numbered in training.
    assert set(RAN) == {("a", 2), ("b", 4)}
    first, second = (model.layers[i].gradient_policy for i in (1, 3))
    assert (first.index, second.index) == (2, 4)
    assert first.method_at(4 * STEPS - 1) == Recording("a")
    assert second.method_at(4 * STEPS - 1) == Recording("b")
    RAN.clear()
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS[:2])
    assert RAN == []


def test_layers_keep_their_places_in_the_schedule_when_it_ends():
    # Each part was converted by itself, and the table has a row for its one layer.
    def part(tag):
        layer = keras.layers.Conv2D(2, 3, padding="same")
        model = keras.Sequential([keras.Input((6, 6, 2)), layer])
        return tfag.approximate_gradients(
            model, tfag.TableSchedule([[Recording(tag), "full"]])
        )

    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, part("a")(part("a")(inputs)))
    model.compile("sgd", "mse")
    fit(model, tfag.SwitchToFullOnPlateau(patience=2), STALLS)
    assert len(RAN) == 6 * 2  # At the even ones of 12 steps.


def test_constant_schedule_needs_no_other_callback_to_switch():
    model = make_model()
    plateau = tfag.SwitchToFullOnPlateau(patience=2)
    arguments = {"batch_size": 4, "verbose": 0, "epochs": len(STALLS)}
    model.fit(X, Y, callbacks=[Say(STALLS), plateau], **arguments)
    assert len(RAN) == 4 * STEPS * 2


def test_model_that_is_not_converted_is_refused_in_words():
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 3)])
    callback = tfag.SwitchToFullOnPlateau(patience=1)
    callback.set_model(model)
    with pytest.raises(ValueError, match=r"no converted layer"):
        callback.on_train_begin()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"monitor": "speed"},
            ValueError,
            r"monitor='speed' .* mode='max' or mode='mi",
        ),
        ({"mode": "up"}, ValueError, "mode='up' must be 'auto', 'min' or 'max'"),
        ({"patience": 0}, ValueError, "patience must be an integer >= 1, got 0"),
        ({"patience": 1.5}, TypeError, r"patience must be .* got 1\.5"),
        ({"min_delta": -1}, ValueError, "min_delta must be a number >= 0, got -1"),
    ],
)
def test_wrong_argument_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        tfag.SwitchToFullOnPlateau(**arguments)
