"""approximate_gradients and strip_approximation: the same model, in and out."""

import re
from copy import deepcopy

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_zoo import (
    SCHEDULE,
    Subclassed,
    assert_all_equal,
    call,
    classes,
    conv,
    converted,
    each_model,
    each_model_slowly,
    nested,
    sequential,
    settings,
    subclassed,
)

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import approximated_layers, convertible_layers


@each_model
def test_conversion_keeps_outputs_weights_and_settings(make):
    model = make()
    expected, weights, before = call(model), model.get_weights(), settings(model)
    count, name = len(convertible_layers(model)), model.name
    model = tfag.approximate_gradients(model, SCHEDULE)
    assert_all_equal(call(model), expected)
    assert_all_equal(model.get_weights(), weights)
    assert settings(model) == before
    assert model.name == name
    assert sum(converted(model)) == count > 0


@each_model
def test_strip_is_the_inverse(make):
    model = make()
    expected, weights, before = call(model), model.get_weights(), settings(model)
    kinds, kind = classes(model), type(model)
    plain = tfag.strip_approximation(tfag.approximate_gradients(model, SCHEDULE))
    assert type(plain) is kind
    assert classes(plain) == kinds
    assert settings(plain) == before
    assert_all_equal(call(plain), expected)
    assert_all_equal(plain.get_weights(), weights)


@each_model_slowly
def test_converting_again_gives_the_same_with_the_new_schedule(make):
    once = tfag.approximate_gradients(make(), SCHEDULE)
    expected, kinds, before = call(once), classes(once), settings(once)
    schedule = tfag.EveryNthStep("zero")
    twice = tfag.approximate_gradients(once, schedule)
    assert_all_equal(call(twice), expected)
    assert classes(twice) == kinds
    assert settings(twice) == before
    assert {x.gradient_policy.schedule for x in approximated_layers(twice)} == {
        schedule
    }


def test_layers_that_were_frozen_inside_a_users_layer_stay_frozen():
    model = subclassed()
    layer = keras.Sequential([keras.Input((8, 8, 3)), model.block, conv(name="last")])
    model.block.first.trainable = False
    before = settings(layer)
    tfag.approximate_gradients(layer, SCHEDULE)
    assert settings(layer) == before
    assert len(layer.trainable_variables) == 4


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (2, ["inner"]),
        ("a", ["a"]),
        (re.compile("^(outer|inner)$"), ["outer", "inner"]),
        (re.compile("N", re.IGNORECASE), ["inner"]),
        pytest.param(lambda layer: not layer.trainable, ["b"], id="predicate"),
        ([1, "a", re.compile("b")], ["outer", "a", "b"]),
        (np.int64(4), ["b"]),
        (None, ["outer", "inner", "a", "b"]),
    ],
    ids=str,
)
def test_layers_are_chosen_by_index_name_expression_and_predicate(layers, names):
    model = nested()
    expected = call(model)
    tfag.approximate_gradients(model, tfag.Constant("max"), layers)
    report = tfag.conversion_report(model)
    assert report.converted == names
    # The others still count: an index means the same layer whatever is converted.
    assert [row.index for row in report.rows] == [1, 2, 3, 4]
    for layer in approximated_layers(model):
        index = ["outer", "inner", "a", "b"].index(layer.name) + 1
        assert layer.gradient_policy.index == index
    assert_all_equal(call(model), expected)


def test_layers_that_are_not_chosen_again_are_plain_again():
    model = tfag.approximate_gradients(subclassed(), SCHEDULE)
    tfag.approximate_gradients(model, SCHEDULE, re.compile("inner"))
    assert tfag.conversion_report(model).converted == ["inner1", "inner2"]
    tfag.bind_step(model, tf.Variable(0))


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        (3, ValueError, ("approximate_gradients", "from 1 to 2", "got 3")),
        (0, ValueError, ("layers", "got 0")),
        ("c", ValueError, ("approximate_gradients", "'c'", "1 'a', 2 'b'")),
        (re.compile("^c"), ValueError, ("approximate_gradients", "'^c'", "'a', 'b'")),
        (re.compile(b"a"), TypeError, ("expressions of strings", "b'a'")),
        pytest.param(
            lambda _: False, ValueError, ("none of 2", "'a', 'b'"), id="predicate"
        ),
        ([], ValueError, ("layers", "at least one", "[]")),
        (1.5, TypeError, ("layers", "1.5")),
    ],
    ids=str,
)
def test_layers_that_mean_nothing_are_refused(layers, error, words):
    model = sequential()
    with pytest.raises(error) as caught:
        tfag.approximate_gradients(model, SCHEDULE, layers=layers)
    for word in words:
        assert word in str(caught.value)
    assert not any(converted(model))


def test_ambiguous_name_is_suggested_once_with_the_indices():
    layers = [conv(3, name="same"), keras.Sequential([conv(3, name="same")])]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    with pytest.raises(ValueError, match=r"\(did you mean 'same'\?\)"):
        tfag.approximate_gradients(model, SCHEDULE, layers="sane")
    with pytest.raises(ValueError, match=r"layers \[1, 2\]; give the index"):
        tfag.approximate_gradients(model, SCHEDULE, layers="same")


def test_model_of_keras_2_is_told_about_keras_3():
    class Legacy:
        __module__ = "tf_keras.src.engine.sequential"

    for function in (tfag.strip_approximation, tfag.conversion_report):
        with pytest.raises(TypeError, match=r"tf_keras, Keras 2.*models of Keras 3"):
            function(type("Own", (Legacy,), {})())


def test_strip_returns_a_plain_model_as_it_is():
    model = sequential()
    assert tfag.strip_approximation(model) is model


def test_strip_refuses_what_is_not_a_model():
    with pytest.raises(TypeError, match=r"model='a model'.*keras\.Model"):
        tfag.strip_approximation("a model")


@pytest.mark.parametrize("copy", [keras.models.clone_model, deepcopy])
def test_copy_of_a_converted_model_has_a_schedule_of_its_own(copy):
    model = tfag.approximate_gradients(sequential(), SCHEDULE)
    for old, new in zip(
        approximated_layers(model), approximated_layers(copy(model)), strict=True
    ):
        assert new.gradient_policy is not old.gradient_policy
        assert new.gradient_policy.schedule == SCHEDULE
        assert new.gradient_policy.index == old.gradient_policy.index


def dense():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="m")


def grouped():
    return keras.Sequential([keras.Input((8, 8, 4)), conv(groups=2)], name="m")


class Broken(tfag.Schedule):
    """Says that it never changes, and does."""

    def __call__(self, layer, step, replica=0):
        return tfag.ZeroGradient() if step == 3 else tfag.FullGradient()


@pytest.mark.parametrize(
    ("model", "schedule", "error", "words"),
    [
        ("a model", SCHEDULE, TypeError, ("model='a model'", "keras.Model")),
        (Subclassed, SCHEDULE, ValueError, ("built", "batch")),
        (sequential, "alternate", TypeError, ("schedule='alternate'", "Schedule")),
        (sequential, tfag.MaxGradient(), TypeError, ("schedule=MaxGradient(",)),
        (sequential, Broken(), ValueError, ("layer 1 at step 3", "Broken")),
        (subclassed, Broken(), ValueError, ("layer 1 at step 3",)),
        (sequential, tfag.Constant("max", "c"), ValueError, ("'c'", "1 'a', 2 'b'")),
        (sequential, tfag.Constant("max", [3]), ValueError, ("3", "2")),
        (subclassed, tfag.Constant("max", "c"), ValueError, ("'c'", "'a'")),
        (
            sequential,
            tfag.TableSchedule([["max"], ["full"], ["max"]]),
            ValueError,
            ("table", "2 rows", "got 3"),
        ),
        (dense, SCHEDULE, ValueError, ("'m'", "no convolution")),
        (grouped, SCHEDULE, ValueError, ("'m'", "no convolution", "groups=2 isn't")),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(model, schedule, error, words):
    model = model() if callable(model) else model
    is_model = isinstance(model, keras.Model)
    before = (classes(model), model.get_weights()) if is_model else None
    with pytest.raises(error) as caught:
        tfag.approximate_gradients(model, schedule)
    for word in words:
        assert word in str(caught.value)
    if is_model:
        assert classes(model) == before[0]
        assert_all_equal(model.get_weights(), before[1])


def test_layers_that_the_schedule_leaves_out_are_refused():
    """The schedule's layers are those of the model, not of `layers`."""
    schedule = tfag.EveryNthLayer("max", n=4, start=2)
    words = r"layers=\[1\] selects convolutions \[1\], and schedule=Every.* but \[2\]"
    with pytest.raises(ValueError, match=words):
        tfag.approximate_gradients(sequential(), schedule, layers=[1])
    model = tfag.approximate_gradients(sequential(), schedule, layers=[1, 2])
    assert len(tfag.conversion_report(model).converted) == 2
    exact = tfag.Constant("full")
    model = tfag.approximate_gradients(sequential(), exact, layers=[1])
    assert len(tfag.conversion_report(model).converted) == 1


@pytest.mark.parametrize(
    "schedule", [tfag.Constant("max", "c"), tfag.TableSchedule([["max"]]), "max"]
)
def test_refusal_leaves_a_converted_model_alone(schedule):
    model = tfag.approximate_gradients(subclassed(), SCHEDULE)
    before = classes(model), model.get_weights()
    with pytest.raises((TypeError, ValueError)):
        tfag.approximate_gradients(model, schedule)
    assert classes(model) == before[0]
    assert_all_equal(model.get_weights(), before[1])
    assert {x.gradient_policy.schedule for x in approximated_layers(model)} == {
        SCHEDULE
    }
