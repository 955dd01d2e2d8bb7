"""Files of the original and of the converted model fit each other."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from marks import slowly
from model_zoo import (
    MODELS,
    QUICK,
    SCHEDULE,
    X,
    assert_all_equal,
    call,
    compiled,
    conv,
    functional,
    nested,
    other_kinds,
    sequential,
    subclassed,
    with_block,
    with_lora,
)

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import approximated_layers


def changed(model):
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(weight + number + 1)
    return model


@pytest.mark.parametrize(
    "make", [functional, nested, with_block, with_lora, other_kinds, subclassed]
)
@pytest.mark.parametrize("to_converted", [True, False], ids=["into", "out of"])
def test_weight_files_load_both_ways(make, to_converted, tmp_path):
    plain, copy = make(), tfag.approximate_gradients(make(), SCHEDULE)
    source, target = (plain, copy) if to_converted else (copy, plain)
    changed(source).save_weights(tmp_path / "model.weights.h5")
    target.load_weights(tmp_path / "model.weights.h5")
    assert_all_equal(call(target), call(source))


@pytest.mark.parametrize(
    "make", [functional, *slowly(with_block, other_kinds, subclassed)]
)
@pytest.mark.parametrize("to_converted", [True, *slowly(False)], ids=["into", "out of"])
def test_checkpoints_load_both_ways_with_the_optimizers_state(
    make, to_converted, tmp_path
):
    plain, copy = compiled(make), compiled(make)
    copy = tfag.approximate_gradients(copy, SCHEDULE)
    source, target = (plain, copy) if to_converted else (copy, plain)
    changed(source)
    for variable in source.optimizer.variables[2:]:
        variable.assign(variable + 1.0)
    checkpoint = tf.train.Checkpoint(model=source, optimizer=source.optimizer)
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    checkpoint = tf.train.Checkpoint(model=target, optimizer=target.optimizer)
    checkpoint.restore(path).assert_existing_objects_matched()
    assert_all_equal(target.get_weights(), source.get_weights())
    assert_all_equal(target.optimizer.variables, source.optimizer.variables)


# What becomes of models with classes of a user's own is tested below.
OF_KERAS = {
    name: make
    for name, make in MODELS.items()
    if name not in ("with_block", "subclassed", "nested_own") and "own_" not in name
}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=[pytest.mark.slow] * (make not in QUICK))
        for name, make in OF_KERAS.items()
    ],
)
def test_keras_file_keeps_the_schedule_and_the_layers_indices(make, tmp_path):
    model = tfag.approximate_gradients(make(), SCHEDULE, layers=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_all_equal(call(loaded), call(model))
    (layer,) = approximated_layers(loaded)
    assert layer.gradient_policy.schedule == SCHEDULE
    assert layer.gradient_policy.index == 2
    tfag.bind_step(loaded, tf.Variable(0))


def test_convolutions_that_lost_their_conversion_in_a_file_are_noticed(tmp_path):
    # A layer of the user's own makes plain convolutions again when it is loaded.
    model = tfag.approximate_gradients(with_block(), SCHEDULE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.compile("sgd", "mse")
    before = loaded.get_weights()
    with pytest.raises(ValueError, match=r"inner1, inner2.*approximate_gradients"):
        loaded.fit(X, X, callbacks=[tfag.ApproximationCallback()], verbose=0)
    assert_all_equal(loaded.get_weights(), before)
    again = tfag.approximate_gradients(loaded, SCHEDULE)
    tfag.bind_step(again, tf.Variable(0))


@keras.saving.register_keras_serializable(package="tests")
class OwnSequential(keras.Sequential):
    """A user's own class whose layers are in its configuration."""


def own_sequential():
    return OwnSequential([keras.Input((8, 8, 3)), conv(3, name="a"), conv(3)])


@pytest.mark.parametrize("make", [sequential, own_sequential])
@pytest.mark.parametrize("from_file", [False, True])
def test_plain_convolution_in_place_of_a_converted_one_is_no_reason_to_refuse(
    from_file, make, tmp_path
):
    model = tfag.approximate_gradients(make(), tfag.Constant("zero"))
    if from_file:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    model.pop()
    model.add(keras.layers.Conv2D(3, 3, name="new"))
    model.compile("sgd", "mse")
    before = [layer.kernel.numpy() for layer in model.layers]
    train(model)
    kept = [
        np.array_equal(a, x.kernel) for a, x in zip(before, model.layers, strict=True)
    ]
    assert kept == [True, False]
    assert tfag.conversion_report(model).converted == ["a"]


def test_subclassed_model_is_plain_again_when_it_is_loaded(tmp_path):
    model = tfag.approximate_gradients(subclassed(), SCHEDULE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_all_equal(call(loaded), call(model))
    assert tfag.conversion_report(loaded).converted == []
    with pytest.raises(ValueError, match=r"approximate_gradients\(model, schedule\)"):
        tfag.bind_step(loaded, tf.Variable(0))


def train(model):
    callbacks = [tfag.ApproximationCallback()]
    target = tf.zeros_like(model(X))
    arguments = {"batch_size": 2, "shuffle": False, "verbose": 0}
    model.fit(X, target, callbacks=callbacks, **arguments)


def test_training_goes_on_at_the_right_step_after_a_keras_file(tmp_path):
    table = [["full", "max", "full", "max"], ["zero", "full", "max", "full"]]
    schedule = tfag.TableSchedule(table)
    model = tfag.approximate_gradients(compiled(sequential), schedule)
    train(model)
    # Seven steps so far, which isn't a multiple of the schedule's period.
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 7
    for each in (model, loaded):
        train(each)
    assert_all_equal(loaded.get_weights(), model.get_weights())


LOAD = """
import sys
sys.modules["tf_approxgrad"] = None  # As where it isn't installed.
import keras
keras.models.load_model("model.keras")
"""


@pytest.mark.slow
@pytest.mark.parametrize("make", [functional, other_kinds])
def test_keras_file_says_what_to_import_where_the_package_is_not(make, tmp_path):
    model = tfag.approximate_gradients(make(), SCHEDULE)
    model.save(tmp_path / "model.keras")
    finished = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert (
        "'note': 'This layer is one of the Python package tf_approxgrad: write "
        "`import tf_approxgrad` before the model is loaded."
    ) in finished.stderr
    tfag.strip_approximation(model).save(tmp_path / "model.keras")
    finished = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=tmp_path, capture_output=True, check=False
    )
    assert finished.returncode == 0
