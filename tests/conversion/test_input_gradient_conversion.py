"""Models whose input gradients are approximated: conversion, files and reports."""

import warnings

import keras
import model_zoo
import numpy as np
import pytest
from input_gradient_models import METHOD, X, fit, make_model
from recording import Recording

import tf_approxgrad as tfag
from tf_approxgrad.layers.conv import APPROXIMATE_LAYERS


def input_methods(model):
    return [getattr(layer, "input_gradient", None) for layer in model.layers]


def test_conversion_sets_replaces_and_removes_the_input_gradient():
    plain = make_model(tfag.Constant("full"), None)
    schedule = tfag.Constant("max")
    model = tfag.approximate_gradients(
        plain, schedule, layers=[1, 3], input_gradient="row-sampled"
    )
    rows = tfag.RowSampledGradient()
    assert input_methods(model) == [rows, None, rows]
    again = tfag.approximate_gradients(model, schedule, input_gradient=METHOD)
    assert input_methods(again) == [METHOD] * 3
    assert input_methods(tfag.approximate_gradients(again, schedule)) == [None] * 3
    outputs = again(X)
    stripped = tfag.strip_approximation(again)
    assert [type(layer) for layer in stripped.layers] == [keras.layers.Conv2D] * 3
    np.testing.assert_array_equal(stripped(X), outputs)


def test_layer_of_a_users_own_class_is_exact_after_strip():
    @keras.saving.register_keras_serializable(package="tests")
    class Own(tfag.ApproxConv2D):
        pass

    own = Own(3, 3, name="own", method="max")
    model = keras.Sequential([keras.Input(X.shape[1:]), own])
    model = tfag.approximate_gradients(
        model, tfag.Constant("max"), input_gradient=METHOD
    )
    assert input_methods(model) == [METHOD]
    assert input_methods(tfag.strip_approximation(model)) == [None]


@pytest.mark.parametrize("cls", APPROXIMATE_LAYERS, ids=lambda cls: cls.__qualname__)
def test_configuration_keeps_the_input_gradient(cls):
    layer = cls(4, 3, method="max", input_gradient=METHOD)
    assert cls.from_config(layer.get_config()).input_gradient == METHOD
    layer = cls(4, 3, method="max", input_gradient="sampled")
    assert layer.input_gradient == tfag.SampledGradient()
    assert cls(4, 3, method="max").input_gradient is None


def test_file_keeps_the_input_gradient_and_trains_alike(tmp_path):
    model = make_model(tfag.EveryNthStep("max", n=2))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert input_methods(loaded) == [METHOD] * 3
    for one, other in zip(*map(fit, (model, loaded)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_report_names_the_input_gradient_where_it_is_approximate():
    model = make_model(tfag.EveryNthLayer("max", n=2, start=2), METHOD)
    notes = [row.note for row in tfag.conversion_report(model).rows]
    label = METHOD.label
    assert notes == ["full", f"max; input gradient: {label}", "full"]


@pytest.mark.parametrize(
    ("input_gradient", "is_warned"),
    [
        (None, False),
        ("full", False),
        ("sampled", False),
        ("row-sampled", False),
        ("max", True),
        ("zero", True),
        ("random", True),
        (tfag.SampledGradient(scale="batch"), True),
        (tfag.RowSampledGradient(probability="product"), True),
    ],
)
def test_conversion_warns_once_of_a_biased_input_gradient(input_gradient, is_warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_model(tfag.Constant("max"), input_gradient)
    said = [
        str(w.message) for w in caught if "propagate to all earlier" in str(w.message)
    ]
    assert len(said) == is_warned
    for message in said:
        assert "biased" in message
        assert "SampledGradient and RowSampledGradient with scale=1" in message


@pytest.mark.parametrize(
    ("input_gradient", "error", "words"),
    [
        (
            "most",
            ValueError,
            "input_gradient must be None or a GradientMethod.*got 'most'",
        ),
        (3, TypeError, "input_gradient must be None or a GradientMethod.*got 3"),
        (Recording(), TypeError, "input_gradient=Recording.* has no input gradient"),
    ],
    ids=str,
)
def test_what_is_no_input_gradient_is_refused_before_any_work(
    input_gradient, error, words
):
    model = model_zoo.sequential()
    with pytest.raises(error, match=words):
        tfag.approximate_gradients(model, tfag.Constant("max"), None, input_gradient)
    with pytest.raises(error, match=words):
        tfag.ApproxConv2D(3, 3, method="max", input_gradient=input_gradient)
