"""Every way to train: each layer uses the schedule's method at each step.

Every cell of the schedules here is a method that records the layer, the step that the
graph saw, and itself.
"""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from recording import CELLS, CellRecording

import tf_approxgrad as tfag

BATCHES = 22
X = np.random.default_rng(0).normal(size=(2 * BATCHES, 6, 6, 2)).astype(np.float32)
Y = np.arange(2 * BATCHES) % 3
A, B, C = (CellRecording(tag) for tag in "abc")
TABLE = tfag.TableSchedule([[A, B, C], [B, B, B], [C, A, A]])
SCHEDULE = tfag.Piecewise([4, 9], [tfag.EveryNthStep(A, n=2), TABLE, B])


@keras.saving.register_keras_serializable(package="tests")
class RecordEverywhere(tfag.Schedule):
    """SCHEDULE, with a record in place of full, so that no cell is missed."""

    def __call__(self, layer, step, replica=0):
        method = SCHEDULE(layer, step, replica)
        return CellRecording("full") if method == tfag.FullGradient() else method

    @property
    def segments(self):
        return SCHEDULE.segments

    def get_config(self):
        return {}

    def __eq__(self, other):
        return type(other) is type(self)

    def __hash__(self):
        return 1


EVERYWHERE = RecordEverywhere()


@pytest.fixture(autouse=True)
def no_cells():
    CELLS.clear()


def assert_followed(steps):
    """The cells recorded are those of the schedule, at these steps in this order."""
    expected = [
        (layer, step, EVERYWHERE(layer, step).tag)
        for step in steps
        for layer in range(1, 4)
    ]
    assert len(CELLS) == len(expected)
    found = [sorted(CELLS[i : i + 3]) for i in range(0, len(CELLS), 3)]
    assert [cell for step in found for cell in step] == expected


def make_model(optimizer=None, dtype=None, **compiled):
    keras.utils.set_random_seed(1)
    layers = [
        *(keras.layers.Conv2D(2, 3, padding="same", dtype=dtype) for _ in range(3)),
        keras.layers.GlobalAveragePooling2D(dtype=dtype),
        keras.layers.Dense(3, "softmax", dtype="float32"),
    ]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    model = tfag.approximate_gradients(model, EVERYWHERE)
    # Keras adds the scaling of the loss by itself only under a global policy.
    optimizer = optimizer or keras.optimizers.SGD(0.01)
    model.compile(optimizer, "sparse_categorical_crossentropy", **compiled)
    return model


def fit(model, x=X, y=Y, **arguments):
    defaults = {"batch_size": 2, "shuffle": False, "verbose": 0}
    callbacks = [tfag.ApproximationCallback(), *arguments.pop("callbacks", [])]
    return model.fit(x, y, callbacks=callbacks, **(defaults | arguments))


@pytest.mark.parametrize("steps_per_execution", [4, *slowly(1, 16)])
def test_fit(steps_per_execution):
    fit(make_model(steps_per_execution=steps_per_execution))
    assert_followed(range(BATCHES))


def test_fit_eagerly():
    fit(make_model(run_eagerly=True))
    assert_followed(range(BATCHES))


@pytest.mark.parametrize("steps_per_execution", [4, *slowly(1)])
def test_fit_a_dataset(steps_per_execution):
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    model = make_model(steps_per_execution=steps_per_execution)
    fit(model, data, None, batch_size=None)
    assert_followed(range(BATCHES))


def test_fit_a_dataset_without_end():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(2)
    fit(make_model(), data, None, batch_size=None, steps_per_epoch=5, epochs=3)
    assert_followed(range(15))


def test_fit_a_generator_and_with_validation():
    batches = ((X[i : i + 2], Y[i : i + 2]) for i in range(0, len(X), 2))
    fit(make_model(), batches, None, batch_size=None, validation_data=(X, Y))
    assert_followed(range(BATCHES))


def test_fit_with_weights_of_classes_and_samples():
    fit(make_model(), class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    assert_followed(range(BATCHES))
    CELLS.clear()
    fit(make_model(), sample_weight=np.linspace(0, 1, len(X)))
    assert_followed(range(BATCHES))


@pytest.mark.parametrize("name", ["Adam", *slowly("RMSprop", "Lion", "Muon")])
def test_fit_with_each_optimizer(name):
    fit(make_model(getattr(keras.optimizers, name)()), x=X[:24], y=Y[:24])
    assert_followed(range(12))


@pytest.mark.parametrize("accumulated", [3, *slowly(2)])
@pytest.mark.parametrize("steps_per_execution", [1, *slowly(4)])
def test_gradient_accumulation_counts_the_updates(accumulated, steps_per_execution):
    # Keras' iterations are the updates of the weights: all batches of one share it.
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=accumulated)
    fit(make_model(optimizer, steps_per_execution=steps_per_execution))
    assert_followed([batch // accumulated for batch in range(BATCHES)])


def test_mixed_bfloat16():
    fit(make_model(dtype="mixed_bfloat16"))
    assert_followed(range(BATCHES))


@pytest.fixture
def mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("steps_per_execution", [4, *slowly(1)])
def test_mixed_float16_does_not_count_a_skipped_step(
    mixed_float16, steps_per_execution
):
    model = make_model(steps_per_execution=steps_per_execution)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    x = X.copy()
    x[6:8] = np.inf  # Batches 3 and 10 overflow, and Keras skips their updates.
    x[20:22] = np.inf
    fit(model, x)
    assert int(model.optimizer.iterations) == BATCHES - 2
    steps = [b - (b > 3) - (b > 10) for b in range(BATCHES)]
    assert_followed(steps)


def test_mixed_float16_with_gradient_accumulation(mixed_float16):
    inner = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    fit(make_model(keras.optimizers.LossScaleOptimizer(inner)))
    assert_followed([batch // 2 for batch in range(BATCHES)])


@pytest.mark.parametrize("run_eagerly", [False, *slowly(True)])
def test_train_on_batch(run_eagerly):
    model = make_model(run_eagerly=run_eagerly)
    tfag.bind_step(model, model.optimizer)
    for i in range(0, len(X), 2):
        model.train_on_batch(X[i : i + 2], Y[i : i + 2])
    assert_followed(range(BATCHES))


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "eager"])
@pytest.mark.parametrize("kind", ["accumulation", *slowly("plain", "loss scale")])
def test_own_loop(graph, kind):
    accumulated = 2 if kind == "accumulation" else None
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=accumulated)
    if kind == "loss scale":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = make_model()
    loss_of = keras.losses.SparseCategoricalCrossentropy()
    tfag.bind_step(model, optimizer)
    optimizer.build(model.trainable_variables)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(loss_of(y, model(x, training=True)))
        weights = model.trainable_weights
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        optimizer.apply(gradients, weights)

    step = tf.function(step) if graph else step
    for i in range(0, len(X), 2):
        step(tf.constant(X[i : i + 2]), tf.constant(Y[i : i + 2]))
    assert_followed([batch // (accumulated or 1) for batch in range(BATCHES)])


class Interrupt(keras.callbacks.Callback):
    """Ends a run as a lost machine does, at the end of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("way", ["backup", *slowly("keras", "weights", "checkpoint")])
def test_resumed_run_continues_in_the_middle_of_a_period(way, tmp_path):
    # Seven steps are in the middle of the table, which begins at step 4.
    model = make_model(keras.optimizers.Adam())
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    arguments = {"x": X[:14], "y": Y[:14]}
    if way == "backup":
        with pytest.raises(KeyboardInterrupt):
            fit(model, **arguments, epochs=3, callbacks=[*backup, Interrupt(1)])
    else:
        fit(model, **arguments)
    assert_followed(range(7))
    CELLS.clear()
    again = make_model(keras.optimizers.Adam())
    if way == "keras":
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
    elif way == "weights":
        model.save_weights(tmp_path / "model.weights.h5")
        again.optimizer.build(again.trainable_variables)
        again.load_weights(tmp_path / "model.weights.h5")
    elif way == "checkpoint":
        path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
        again.optimizer.build(again.trainable_variables)
        tf.train.Checkpoint(model=again).restore(path).assert_consumed()
    if way == "backup":
        fit(again, **arguments, epochs=2, callbacks=backup)
    else:
        fit(again, **arguments)
    assert_followed(range(7, 14))


def test_cells_of_every_kind_were_met():
    # The tests above would say little of a schedule that is the same everywhere.
    kinds = collections.Counter(
        EVERYWHERE(layer, step).tag for layer in (1, 2, 3) for step in range(BATCHES)
    )
    assert {*kinds} == {"a", "b", "c", "full"}
