"""ApproximationCallback: the schedule in fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from recording import RAN, Recording, operations, switches

import tf_approxgrad as tfag

STEPS = 6
X = np.random.default_rng(0).normal(size=(4 * STEPS, 6, 6, 2)).astype(np.float32)
Y = np.zeros([len(X), 6, 6, 2], np.float32)
FULL, REC = tfag.FullGradient(), Recording()
SCHEDULES = {
    "EveryNthLayer": tfag.EveryNthLayer(REC, n=2, start=1),
    "Alternate": tfag.Alternate(REC),
    "EveryNthStep": tfag.EveryNthStep(REC, n=4, start=1),
    "TableSchedule": tfag.TableSchedule(
        [[FULL, REC, REC], [REC, FULL, Recording("other")], [FULL, FULL, REC]]
    ),
    "Constant": tfag.Constant(REC, layers=[2, 3]),
}


# One whose rows differ, one of steps, and one without.
QUICK = ("Alternate", "TableSchedule", "Constant")
each_schedule = pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(schedule, id=name, marks=[pytest.mark.slow] * (name not in QUICK))
        for name, schedule in SCHEDULES.items()
    ],
)


def make_model(schedule=None, layers=3, optimizer=None, **compiled):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((6, 6, 2))]
        + [keras.layers.Conv2D(2, 3, padding="same") for _ in range(layers)]
    )
    if schedule is not None:
        model = tfag.approximate_gradients(model, schedule)
    model.compile(optimizer or keras.optimizers.SGD(0.01), "mse", **compiled)
    return model


def fit(model, callback=None, epochs=1, **arguments):
    callbacks = [callback or tfag.ApproximationCallback()]
    defaults = {"batch_size": 4, "verbose": 0, "shuffle": False}
    model.fit(X, Y, epochs=epochs, callbacks=callbacks, **(defaults | arguments))


def expected_cells(schedule, steps, layers=3):
    """What a run records, step by step. Layers run in any order within a step."""
    return [
        (method.tag, layer)
        for step in steps
        for layer in range(1, layers + 1)
        if isinstance(method := schedule(layer, step), Recording)
    ]


def in_order(ran, steps, schedule):
    """The record with the layers of each step sorted."""
    rest, result = list(ran), []
    for step in steps:
        count = len(expected_cells(schedule, [step]))
        result += sorted(rest[:count], key=lambda cell: cell[1])
        rest = rest[count:]
    return result + rest


def assert_ran(schedule, steps):
    assert in_order(RAN, steps, schedule) == expected_cells(schedule, steps)


@pytest.fixture(autouse=True)
def no_record():
    RAN.clear()


@each_schedule
@pytest.mark.parametrize("steps_per_execution", [4, *slowly(1)])
def test_fit_runs_the_schedules_method_in_each_cell(schedule, steps_per_execution):
    model = make_model(schedule, steps_per_execution=steps_per_execution)
    fit(model)
    assert_ran(schedule, range(STEPS))


@each_schedule
def test_second_fit_continues_the_schedule(schedule):
    model = make_model(schedule)
    fit(model, steps_per_epoch=3)
    fit(model, steps_per_epoch=2)
    assert_ran(schedule, range(5))


def test_own_train_step_follows_the_schedule():
    class Model(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            weights = self.trainable_weights
            self.optimizer.apply(
                tape.gradient(loss, [w.value for w in weights]), weights
            )
            return {"loss": loss}

    layers = [tfag.ApproxConv2D(2, 3, padding="same", method="full") for _ in range(3)]
    model = Model([keras.Input((6, 6, 2)), *layers])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    schedule = tfag.Alternate(REC)
    fit(model, tfag.ApproximationCallback(schedule))
    assert_ran(schedule, range(STEPS))


def test_new_schedule_replaces_the_one_before():
    model = make_model(tfag.Alternate(REC))
    fit(model, steps_per_epoch=2)
    RAN.clear()
    later = tfag.EveryNthLayer(Recording("later"), n=2, start=1)
    fit(model, tfag.ApproximationCallback(later), steps_per_epoch=2)
    assert_ran(later, range(2, 4))
    RAN.clear()
    fit(model, steps_per_epoch=2)
    assert_ran(later, range(4, 6))


@pytest.mark.parametrize("method", ["random", *slowly("full", "zero", "max")])
def test_two_runs_give_the_same_weights(method):
    weights = []
    for _ in range(2):
        model = make_model(tfag.Alternate(method))
        fit(model, epochs=2)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_of_ours_runs_outside_training():
    model = make_model(tfag.Alternate("max"))
    fit(model)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    graphs = [
        tf.function(step).get_concrete_function(data).graph
        for step, data in (
            (model.train_step, (X, Y)),
            (model.test_step, (X, Y)),
            (model.predict_step, (X,)),
            (model, X),
        )
    ]
    ours = [any("Approx" in kind for kind in operations(graph)) for graph in graphs]
    assert ours == [True, False, False, False]
    assert [bool(switches(graph)) for graph in graphs] == ours


@pytest.mark.parametrize(
    ("schedule", "switching"),
    [
        (tfag.Constant("max"), 0),
        (tfag.Constant("random", layers=[2, 3]), 0),
        (tfag.EveryNthLayer("max", n=2, start=1), 0),
        (tfag.TableSchedule([["max"] * 4, ["full", "zero"] * 2, ["full"] * 4]), 1),
        (tfag.Alternate("max"), 1),
        (tfag.Until("max", end=9), 3),
    ],
    ids=repr,
)
def test_only_rows_that_change_have_a_switch_in_the_graph(schedule, switching):
    model = make_model(schedule)
    tfag.bind_step(model, model.optimizer)
    step = tf.function(model.train_step).get_concrete_function((X, Y))
    assert len(switches(step.graph)) == switching


def test_report_is_printed_once_and_not_at_all_when_quiet(capsys):
    model = make_model(tfag.Alternate("max"))
    fit(model, epochs=2, verbose=2)
    printed = capsys.readouterr().out
    assert printed.count("Approximate filter gradients: Alternate(") == 1
    assert "17% of the (layer, step) cells of 3 convolutions in the long run" in printed
    fit(model, verbose=0)
    assert capsys.readouterr().out == ""


def refused(error, match, model, callback=None):
    before = model.get_weights()
    with pytest.raises(error, match=match):
        fit(model, callback)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == 0
    assert RAN == []


@pytest.mark.parametrize(
    ("schedule", "match"),
    [
        (tfag.Constant(REC, layers="conv9"), "'conv9'"),
        (tfag.Constant(REC, layers=[4]), "4"),
        (tfag.TableSchedule([[REC], [FULL]]), "3 rows.*got 2"),
    ],
    ids=["name", "index", "rows"],
)
def test_schedule_that_does_not_fit_is_refused_before_training(schedule, match):
    model = make_model(tfag.Alternate("max"))
    refused(ValueError, match, model, tfag.ApproximationCallback(schedule))


def test_model_that_is_not_converted_is_refused():
    refused(ValueError, "no converted layer.*approximate_gradients", make_model())


def test_layers_with_different_schedules_are_refused():
    model = make_model(tfag.Alternate("max"))
    model.layers[1].gradient_policy.schedule = tfag.Alternate("zero")
    refused(ValueError, "different schedules", model)


@pytest.mark.parametrize("schedule", ["alternate", tfag.MaxGradient(), tfag.Alternate])
def test_callback_takes_schedules_only(schedule):
    with pytest.raises(TypeError, match=r"^schedule=.* must be a tf_approxgrad.Sched"):
        tfag.ApproximationCallback(schedule)


@pytest.mark.parametrize(
    "schedule", [tfag.Alternate("max"), tfag.Constant("random")], ids=repr
)
def test_training_without_the_callback_is_refused_where_the_step_matters(schedule):
    model = make_model(schedule)
    before = model.get_weights()
    with pytest.raises(RuntimeError, match="ApproximationCallback"):
        model.fit(X, Y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_schedule_without_steps_needs_no_callback():
    model = make_model(tfag.Constant(REC))
    model.fit(X, Y, batch_size=4, verbose=0)
    assert sorted(RAN) == sorted(expected_cells(tfag.Constant(REC), range(STEPS)))


def test_progress_bar_and_history_show_the_share(capsys):
    model = make_model(tfag.Until(tfag.Alternate("max"), end=4))
    callback = tfag.ApproximationCallback(show_share=True)
    history = model.fit(X, Y, batch_size=4, callbacks=[callback], epochs=2)
    # Two cells of the 18 of six steps, and of the 36 of twelve.
    shares = history.history["share_approximated"]
    assert shares == pytest.approx([2 / 18, 2 / 36])
    assert "share_approximated: 0.1111" in capsys.readouterr().out


def shares(model, *callbacks, epochs=1):
    callbacks = [tfag.ApproximationCallback(show_share=True), *callbacks]
    arguments = {"batch_size": 4, "verbose": 0, "epochs": epochs}
    history = model.fit(X, Y, callbacks=callbacks, **arguments).history
    return pytest.approx(history["share_approximated"])


def test_share_is_that_of_the_current_schedule_over_all_steps():
    model = make_model()
    model.fit(X, Y, batch_size=4, verbose=0)
    model = tfag.approximate_gradients(model, tfag.Constant("max", layers=[1]))
    assert shares(model) == [1 / 3]
    assert shares(model, tfag.ApproximationCallback(tfag.Constant("zero"))) == [1.0]


def test_share_of_a_resumed_run_is_that_of_the_whole(tmp_path):
    schedule = tfag.Until("max", end=3)
    model = make_model(schedule)
    fit(model)
    model.save_weights(tmp_path / "model.weights.h5")
    again = make_model(tfag.Alternate("zero"))
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "model.weights.h5")
    callback = tfag.ApproximationCallback(schedule, show_share=True)
    history = again.fit(X, Y, batch_size=4, verbose=0, callbacks=[callback]).history
    assert history["share_approximated"] == [3 / 12]


def test_logs_are_keras_own_unless_the_share_is_asked_for():
    model = make_model(tfag.Alternate("max"))
    callbacks = [tfag.ApproximationCallback()]
    history = model.fit(X, Y, batch_size=4, callbacks=callbacks, verbose=0)
    assert [*history.history] == ["loss"]


def test_schedule_that_breaks_its_promise_replaces_nothing():
    class Broken(tfag.Schedule):
        def __call__(self, layer, step, replica=0):
            return tfag.ZeroGradient() if step == 3 else tfag.FullGradient()

    model = tfag.models.cnn2(input_shape=(12, 12, 1))
    model = tfag.approximate_gradients(model, tfag.Alternate("max"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.zeros([4, 12, 12, 1], np.float32), np.zeros([4], np.int32)
    with pytest.raises(ValueError, match="at step 3"):
        model.fit(x, y, verbose=0, callbacks=[tfag.ApproximationCallback(Broken())])
    model.fit(x, y, verbose=0, callbacks=[tfag.ApproximationCallback()])
