"""Conversion of models that hypothesis finds: gradients change, and nothing else."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_place import assert_same_objects, attributes
from random_models import BLOCKS, Description, descriptions

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import approximated_layers, convertible_layers


def compiled(description, run_eagerly):
    model = description.make()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, "mse", run_eagerly=run_eagerly)
    return model


def at_step_0(method, model):
    """A schedule of a method at step 0 that a layer's gradient has to look up."""
    other = "zero" if method == "full" else "full"
    return tfag.TableSchedule([[method, other]] * len(convertible_layers(model)))


def step(model, description):
    model.train_on_batch(*description.batch())
    return [variable.numpy() for variable in model.variables]


def outputs(model, description):
    found = keras.tree.flatten(model(description.batch()[0], training=False))
    return [output.numpy() for output in found]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_changes_only_gradients(description, run_eagerly=True):
    plain, model = (compiled(description, run_eagerly) for _ in "ab")
    expected, before = outputs(model, description), attributes(model)
    assert tfag.approximate_gradients(model, at_step_0("full", model)) is model
    count = len(convertible_layers(model))
    assert len(approximated_layers(model)) == count > 0
    assert_same_objects(before, attributes(model))
    assert_equal(outputs(model, description), expected)
    tfag.bind_step(model, model.optimizer)
    expected, found = step(plain, description), step(model, description)
    for variable, a, b in zip(model.variables, found, expected, strict=True):
        # A separable layer is convolved by two ops, which round otherwise.
        tolerance = 1e-5 if "SeparableConv2D" in description.blocks else 0
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=variable.path)

    resting = compiled(description, run_eagerly)
    tfag.approximate_gradients(resting, at_step_0("zero", resting))
    tfag.bind_step(resting, resting.optimizer)
    kernels = {id(kernel(layer)) for layer in convertible_layers(resting)}
    old = [variable.numpy() for variable in resting.variables]
    new = step(resting, description)
    for variable, a, b, exact in zip(
        resting.variables, old, new, expected, strict=True
    ):
        if id(variable) not in kernels:
            np.testing.assert_allclose(b, exact, 1e-4, 1e-5, err_msg=variable.path)
        # The wrapper changes its layer's kernel.
        elif "spectral_normalization" not in variable.path:
            np.testing.assert_array_equal(a, b, err_msg=variable.path)

    expected = outputs(resting, description)
    assert tfag.strip_approximation(resting) is resting
    assert approximated_layers(resting) == []
    assert_equal(outputs(resting, description), expected)
    if "SeparableConv2D" not in description.blocks:
        tfag.strip_approximation(model)
        assert_equal(step(model, description), step(plain, description))
        assert_equal(outputs(model, description), outputs(plain, description))


def kernel(layer):
    separable = isinstance(layer, keras.layers.SeparableConv2D)
    return layer.pointwise_kernel if separable else layer.kernel


# Alone, so that a failure names it.
@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_each_layer_is_kept(block):
    assert_changes_only_gradients(Description(("Conv2D", block)))


NO_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=4, derandomize=True, suppress_health_check=NO_CHECKS)
@given(description=descriptions)
def test_any_model_is_kept(description):
    assert_changes_only_gradients(description)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=NO_CHECKS)
@given(description=descriptions, run_eagerly=st.booleans())
def test_any_model_is_kept_at_length(description, run_eagerly):
    assert_changes_only_gradients(description, run_eagerly)
