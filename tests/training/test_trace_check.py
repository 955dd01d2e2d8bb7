"""Training that is exact, or follows an older schedule, is refused: never silent."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from recording import RAN, Recording

import tf_approxgrad as tfag

X = np.random.default_rng(0).normal(size=(12, 6, 6, 2)).astype(np.float32)
Y = np.zeros([12, 6, 6, 2], np.float32)
REC = Recording()
EXACT = "no converted layer of model .* was called with training=True"
STALE = "still train by a trace from before .*tf.function"


def convolutions(count=2):
    return [keras.layers.Conv2D(2, 3, padding="same") for _ in range(count)]


class Model(keras.Model):
    """Two convolutions in a model of a user's own class."""

    def __init__(self, parts=None):
        super().__init__()
        self.parts = parts or convolutions()

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x)
        return x


class TracedModel(Model):
    """The same, traced by itself."""

    @tf.function
    def call(self, x, training=None):
        for part in self.parts:
            x = part(x)
        return x


class OwnStep(keras.Sequential):
    """A training step of a user's own, which may forget to say that it is one."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, **self.arguments) - y) ** 2)
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
        return {"loss": loss}


def made(model, schedule=None, **compiled):
    model(X[:4])
    if schedule is not None:
        model = tfag.approximate_gradients(model, schedule)
    model.compile(keras.optimizers.SGD(0.01), "mse", **compiled)
    return model


def own_step(arguments, schedule=None, **compiled):
    model = made(OwnStep(convolutions()), schedule or tfag.Alternate(REC), **compiled)
    model.arguments = arguments
    return model


def fit(model, *callbacks, **arguments):
    callbacks = callbacks or [tfag.ApproximationCallback()]
    defaults = {"batch_size": 4, "shuffle": False, "verbose": 0}
    return model.fit(X, Y, callbacks=[*callbacks], **(defaults | arguments))


@pytest.fixture(autouse=True)
def no_record():
    RAN.clear()


each_way = pytest.mark.parametrize(
    "compiled",
    [{}, {"run_eagerly": True}, *slowly({"steps_per_execution": 2})],
    ids=["graph", "eager", "steps_per_execution"],
)
each_way_slowly = pytest.mark.parametrize(
    "compiled",
    [{}, *slowly({"run_eagerly": True}, {"steps_per_execution": 2})],
    ids=["graph", "eager", "steps_per_execution"],
)


@each_way
@pytest.mark.parametrize("show_share", [False, *slowly(True)])
def test_train_step_that_does_not_say_that_it_trains_is_refused(compiled, show_share):
    model = own_step({}, **compiled)
    callback = tfag.ApproximationCallback(show_share=show_share)
    with pytest.raises(RuntimeError, match=EXACT):
        fit(model, callback, epochs=2)
    # It stopped in the first epoch.
    assert int(model.optimizer.iterations) <= 3
    with pytest.raises(RuntimeError, match=EXACT):
        fit(model)


@each_way_slowly
def test_train_step_that_says_so_trains(compiled):
    model = own_step({"training": True}, **compiled)
    for _ in range(2):
        fit(model, epochs=2)
    assert int(model.optimizer.iterations) == 12
    assert len(RAN) == 6


def test_summaries_that_train_to_measure_hide_nothing(tmp_path):
    model = own_step({}, tfag.Constant("max"))
    summaries = tfag.ApproximationSummaries(
        tmp_path, update_freq=1, data=(X[:4], Y[:4])
    )
    for _ in range(2):
        with pytest.raises(RuntimeError, match=EXACT):
            fit(model, summaries, tfag.ApproximationCallback())


@each_way
def test_call_traced_before_the_conversion_is_refused(compiled):
    model = made(TracedModel(), **compiled)
    model.fit(X, Y, batch_size=4, verbose=0)
    model = tfag.approximate_gradients(model, tfag.EveryNthStep(REC, n=1, start=0))
    with pytest.raises(RuntimeError, match=EXACT):
        fit(model)
    assert RAN == []


@each_way
def test_call_traced_under_an_older_schedule_is_refused(compiled):
    model = made(TracedModel(), tfag.Constant(REC), **compiled)
    fit(model)
    assert len(RAN) == 6
    later = tfag.Constant(Recording("later"))
    with pytest.raises(RuntimeError, match=STALE):
        fit(model, tfag.ApproximationCallback(later))
    # What was traced is right again.
    fit(model, tfag.ApproximationCallback(tfag.Constant(REC)))


def test_call_traced_while_a_layer_was_approximated_is_refused_once_it_is_exact():
    model = made(TracedModel(), tfag.Constant(REC))
    fit(model)
    with pytest.raises(RuntimeError, match=STALE):
        fit(model, tfag.ApproximationCallback(tfag.Constant(REC, layers=[1])))


def test_call_traced_with_another_step_counter_is_refused():
    model = made(TracedModel(), tfag.Alternate(REC))
    fit(model)
    model.compile(keras.optimizers.SGD(0.001), "mse")
    with pytest.raises(RuntimeError, match=STALE):
        fit(model)


@pytest.mark.parametrize("driven", [True, False], ids=["callback", "none"])
def test_switch_on_a_plateau_that_does_not_happen_is_refused(driven):
    model = made(TracedModel(), tfag.Constant(REC))
    plateau = tfag.SwitchToFullOnPlateau("loss", patience=1, min_delta=1e9)
    before = [tfag.ApproximationCallback()] if driven else []
    with pytest.raises(RuntimeError, match=STALE):
        fit(model, *before, plateau, epochs=5)
    # The second epoch stalls, the third begins with the switch.
    assert 6 < int(model.optimizer.iterations) <= 9


def test_call_that_is_traced_trains_while_nothing_changes():
    model = made(TracedModel(), tfag.Alternate(REC))
    for epochs in (1, 2):
        fit(model, epochs=epochs)
    fit(model, tfag.ApproximationCallback(tfag.Alternate(REC)))
    assert len(RAN) == 6


def test_call_that_is_traced_trains_under_another_schedule_of_the_same_methods():
    layers = [tfag.ApproxConv2D(2, 3, padding="same", method=REC) for _ in range(2)]
    model = made(TracedModel(layers))
    model.fit(X, Y, batch_size=4, verbose=0)
    same = tfag.TableSchedule([[REC], [REC]])
    for schedule in (None, tfag.Constant(REC), same):
        fit(model, tfag.ApproximationCallback(schedule))
    assert len(RAN) == 4 * 6


def test_loop_of_ones_own_and_fit_share_what_was_traced():
    model = made(TracedModel(), tfag.Alternate(REC))
    tfag.bind_step(model, model.optimizer.iterations)
    for _ in range(2):
        model.train_on_batch(X[:4], Y[:4])
    fit(model)
    assert len(RAN) == 2


def test_fit_is_traced_again_for_another_step_counter():
    model = made(Model(), tfag.Alternate(REC))
    tfag.bind_step(model, tf.Variable(1, dtype=tf.int64))
    model.fit(X, Y, batch_size=4, verbose=0)
    assert len(RAN) == 3
    RAN.clear()
    fit(model)  # Steps 3, 4 and 5.
    assert len(RAN) == 2


def test_second_fit_with_the_same_schedule_is_not_traced_again():
    traced = []

    class Counting(Model):
        def call(self, x, training=None):
            traced.append(training)
            return super().call(x)

    model = made(Counting(), tfag.Alternate(REC))
    fit(model)
    traced.clear()
    fit(model, tfag.ApproximationCallback(tfag.Alternate(REC)))
    assert traced == []


def test_outer_model_is_traced_again_when_a_model_in_it_is_converted_in_place():
    inputs = keras.Input((6, 6, 2))
    inner = made(Model())
    outer = keras.Model(inputs, inner(inputs))
    outer.compile("sgd", "mse")
    outer.fit(X, Y, batch_size=4, verbose=0)
    tfag.approximate_gradients(inner, tfag.Constant(REC))
    fit(outer)
    assert len(RAN) == 6


class TwoHeads(Model):
    """A layer that training doesn't use, and one that only inference uses."""

    def call(self, x, training=None):
        return self.parts[0](x) if training else self.parts[1](x)


@each_way_slowly
def test_layers_that_training_does_not_use_are_no_reason_to_refuse(compiled):
    model = TwoHeads()
    model(X[:4], training=True)
    model = made(model, tfag.Constant(REC), **compiled)
    for schedule in (None, tfag.Constant(Recording("later")), None):
        fit(model, tfag.ApproximationCallback(schedule))
    assert len(RAN) == 9


class FineTuned(keras.Model):
    """A base that isn't told that it trains, so that its statistics stay."""

    def __init__(self, trainable):
        super().__init__()
        self.base = keras.Sequential([keras.Input((6, 6, 2)), *convolutions()])
        self.base.trainable = trainable
        self.head = convolutions(1)[0]

    def call(self, x, training=None):
        # Keras passes on what the layer before was told.
        return self.head(self.base(x, training=False), training=training)


@each_way_slowly
@pytest.mark.parametrize("layers", [None, [1, 2]], ids=["all", "base"])
def test_frozen_layers_are_no_reason_to_refuse(layers, compiled):
    schedule = tfag.Constant(REC, layers=layers)
    model = made(FineTuned(trainable=False), schedule, **compiled)
    for _ in range(2):
        fit(model)
    assert int(model.optimizer.iterations) == 6
    expected = [("approximate", 3)] * 6 if layers is None else []
    assert expected == RAN


def test_base_that_trains_but_is_not_told_so_is_refused():
    model = made(FineTuned(trainable=True), tfag.Constant(REC, layers=[1, 2]))
    with pytest.raises(RuntimeError, match=EXACT):
        fit(model)


def test_eager_steps_may_use_other_layers_in_turns():
    class Turns(Model):
        number = 0

        def call(self, x, training=None):
            if training:
                self.number += 1
            x = self.parts[self.number % 2](x)
            return x * self.scale

        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones")
            for part in self.parts:
                part.build(shape)

    model = made(Turns())
    schedule = tfag.Constant(REC, layers=[1])
    model = tfag.approximate_gradients(model, schedule)
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model)
    fit(model, tfag.ApproximationCallback(tfag.Constant(Recording("b"), layers=[1])))
    assert RAN


def test_schedule_that_is_exact_everywhere_needs_no_training_call():
    fit(own_step({}, tfag.Constant("full")))


def test_loaded_model_trains(tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 2)), *convolutions()])
    model = made(model, tfag.Alternate(REC))
    fit(model)
    model.save(tmp_path / "model.keras")
    RAN.clear()
    again = keras.models.load_model(tmp_path / "model.keras")
    for _ in range(2):
        fit(again)
    assert len(RAN) == 3


def test_compiled_model_trains_twice():
    model = keras.Sequential([keras.Input((6, 6, 2)), *convolutions()])
    model = made(model, tfag.Alternate("max"), jit_compile=True)
    for schedule in (None, None, tfag.Alternate("zero"), None):
        fit(model, tfag.ApproximationCallback(schedule))
    assert int(model.optimizer.iterations) == 12
