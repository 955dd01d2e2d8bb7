"""A model whose parts are trained by optimizers of their own."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from recording import CELLS, CellRecording

import tf_approxgrad as tfag

BATCHES = 6
X = np.random.default_rng(0).normal(size=(2 * BATCHES, 6, 6, 2)).astype(np.float32)
TABLE = tfag.TableSchedule([[CellRecording("a"), CellRecording("b"), "max"]])


class Pair(keras.Model):
    """Trains its first part at each batch, and its second at every other one."""

    def __init__(self, schedule=TABLE):
        super().__init__()
        self.parts = [
            tfag.approximate_gradients(
                keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 1)]),
                schedule,
            )
            for _ in range(2)
        ]
        self.built = True

    def compile(self, **compiled):
        super().compile(**compiled)
        self.optimizers = [keras.optimizers.SGD(0.01) for _ in range(2)]
        self.batches = tf.Variable(0)
        for part, optimizer in zip(self.parts, self.optimizers, strict=True):
            optimizer.build(part.trainable_variables)

    def call(self, x, training=None):
        return self.parts[1](self.parts[0](x, training=training), training=training)

    def train_step(self, data):
        def train(part, optimizer):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(part(data, training=True) ** 2)
            weights = part.trainable_weights
            optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
            return tf.cast(loss, tf.float32)

        def second():
            return train(self.parts[1], self.optimizers[1])

        loss = train(self.parts[0], self.optimizers[0])
        tf.cond(self.batches % 2 == 0, second, lambda: 0.0)
        self.batches.assign_add(1)
        return {"loss": loss}


@pytest.fixture(autouse=True)
def no_cells():
    CELLS.clear()


def fit(model, *callbacks, **arguments):
    defaults = {"batch_size": 2, "verbose": 0}
    return model.fit(X, callbacks=[*callbacks], **(defaults | arguments))


def test_each_part_follows_the_schedule_by_the_steps_of_its_own_optimizer():
    model = Pair()
    model.compile()
    for part, optimizer in zip(model.parts, model.optimizers, strict=True):
        tfag.bind_step(part, optimizer.iterations)
    fit(model)
    first = [(1, step, "ab"[step % 3]) for step in range(6) if step % 3 < 2]
    second = [(1, 0, "a"), (1, 1, "b")]
    assert sorted(CELLS) == sorted(first + second)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_schedule_that_would_stand_still_is_refused_after_the_first_epoch(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = Pair()
        model.compile()
        with pytest.raises(RuntimeError, match=r"took no step.*bind_step\(part, opt"):
            fit(model, tfag.ApproximationCallback(), epochs=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert int(model.optimizers[0].iterations) == BATCHES


def test_schedule_that_needs_no_step_trains_with_the_callback():
    model = Pair(tfag.Constant("max"))
    model.compile()
    fit(model, tfag.ApproximationCallback(), epochs=2)
    assert int(model.optimizers[0].iterations) == 2 * BATCHES


def gan():
    """A generator, a discriminator, and both of them as one model."""
    image = (6, 6, 2)
    parts = [
        keras.Sequential([keras.Input(image), keras.layers.Conv2D(2, 1)], name=name)
        for name in ("generator", "discriminator")
    ]
    for part in parts:
        tfag.approximate_gradients(part, tfag.Constant(CellRecording(part.name)))
        part.compile(keras.optimizers.SGD(0.01), "mse")
    inputs = keras.Input(image)
    combined = keras.Model(inputs, parts[1](parts[0](inputs)), name="combined")
    combined.compile(keras.optimizers.SGD(0.01), "mse")
    return *parts, combined


def test_frozen_discriminator_keeps_following_its_own_optimizer():
    _, discriminator, combined = gan()
    tfag.bind_step(discriminator, discriminator.optimizer)
    discriminator.trainable = False
    tfag.bind_step(combined, combined.optimizer)
    for _ in range(3):
        discriminator.trainable = True
        for _ in range(2):
            discriminator.train_on_batch(X[:2], X[:2])
        discriminator.trainable = False
        combined.train_on_batch(X[:2], X[:2])
    steps = {
        part: sorted(step for _, step, tag in CELLS if tag == part)
        for part in ("generator", "discriminator")
    }
    assert steps["generator"] == [0, 1, 2]
    # The frozen layer's are those of its optimizer between the two.
    assert steps["discriminator"] == sorted([*range(6), 2, 4, 6])


def test_part_that_leaves_the_optimizer_it_is_bound_to_is_named():
    generator, discriminator, combined = gan()
    tfag.bind_step(generator, generator.optimizer)
    tfag.bind_step(discriminator, discriminator.optimizer)
    discriminator.trainable = False
    name = generator.layers[0].name
    message = (
        rf"^layers {name} followed the step that was bound to model generator, and "
        "follow that of model 'combined' now"
    )
    with pytest.warns(UserWarning, match=message):
        tfag.bind_step(combined, combined.optimizer)
    with pytest.warns(UserWarning, match="bound to model combined"):
        tfag.bind_step(generator, generator.optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Another optimizer of the same model, and the same one of another model.
        generator.compile(keras.optimizers.SGD(0.02), "mse")
        tfag.bind_step(generator, generator.optimizer)
        tfag.bind_step(combined, generator.optimizer)


def one_convolution(optimizer):
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 1)])
    model = tfag.approximate_gradients(model, tfag.EveryNthStep("max"))
    model.compile(optimizer, "mse")
    return model


def test_epoch_that_ends_while_gradients_accumulate_is_no_reason_to_refuse():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=100)
    model = one_convolution(optimizer)
    callbacks = [tfag.ApproximationCallback()]
    model.fit(X, X, batch_size=2, verbose=0, callbacks=callbacks)
    assert int(model.optimizer.iterations) == 0


def test_epoch_of_skipped_steps_alone_is_no_reason_to_refuse():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    model = one_convolution(optimizer)
    callbacks = [tfag.ApproximationCallback()]
    model.fit(X * np.inf, X, verbose=0, callbacks=callbacks)
    assert int(model.optimizer.iterations) == 0
