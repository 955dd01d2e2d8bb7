"""Conversion of models that hypothesis finds: gradients change, and nothing else."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from in_place import assert_same_objects, attributes
from random_models import BLOCKS, Description, descriptions

import tf_approxgrad as tfag
from tf_approxgrad.conversion.traversal import approximated_layers, convertible_layers


def compiled(description):
    model = description.make()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
    return model


def step(model, description):
    model.train_on_batch(*description.batch())
    return [variable.numpy() for variable in model.variables]


def outputs(model, description):
    found = keras.tree.flatten(model(description.batch()[0], training=False))
    return [output.numpy() for output in found]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_changes_only_gradients(description):
    plain, model = compiled(description), compiled(description)
    # The plain one's first step is that of a layer of Keras.
    expected, before = outputs(model, description), attributes(model)
    assert tfag.approximate_gradients(model, tfag.Constant("full")) is model
    count = len(convertible_layers(model))
    assert len(approximated_layers(model)) == count > 0
    assert_same_objects(before, attributes(model))
    assert_equal(outputs(model, description), expected)
    expected = step(plain, description)
    assert_equal(step(model, description), expected)

    tfag.approximate_gradients(model, tfag.Constant("zero"))
    tfag.bind_step(model, model.optimizer)
    frozen = compiled(description)
    tfag.approximate_gradients(frozen, tfag.Constant("zero"))
    kernels = {id(kernel(layer)) for layer in convertible_layers(frozen)}
    old = [variable.numpy() for variable in frozen.variables]
    new = step(frozen, description)
    for variable, a, b, exact in zip(frozen.variables, old, new, expected, strict=True):
        if id(variable) in kernels:
            if "spectral_normalization" in variable.path:
                continue  # The wrapper changes its layer's kernel.
            np.testing.assert_array_equal(a, b, err_msg=variable.path)
        else:
            # A separable layer is convolved by two ops, which round otherwise.
            np.testing.assert_allclose(b, exact, 1e-4, 1e-5, err_msg=variable.path)

    expected = outputs(frozen, description)
    assert tfag.strip_approximation(frozen) is frozen
    assert approximated_layers(frozen) == []
    assert_equal(outputs(frozen, description), expected)
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


@settings(max_examples=6, derandomize=True, suppress_health_check=NO_CHECKS)
@given(description=descriptions)
def test_any_model_is_kept(description):
    assert_changes_only_gradients(description)


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=NO_CHECKS)
@given(description=descriptions)
def test_any_model_is_kept_at_length(description):
    assert_changes_only_gradients(description)
