"""fidelity of input gradients, and of what their errors make of filter gradients."""

import math

import keras
import model_zoo
import numpy as np
import pytest
from fidelity_checks import (
    expected_numbers,
    measure,
    numbers,
    report_numbers,
    state,
    zoo_batch,
    zoo_loss,
)
from input_reference import exact_of_rows, max_rows
from recording import Recording
from reference import Problem

import tf_approxgrad as tfag

FIRST = Problem()
SECOND = Problem((3, 3), strides=(2, 2), ci=FIRST.co, co=4)
BOTH = ["input", "propagated"]


def two_layers():
    """Two convolutions of which the second's input is the first's output."""
    layers = [
        keras.layers.Conv2D(
            problem.co,
            problem.kernel,
            problem.strides,
            "same",
            use_bias=False,
            name=name,
        )
        for name, problem in (("first", FIRST), ("second", SECOND))
    ]
    model = keras.Sequential([keras.Input((*FIRST.size, FIRST.ci)), *layers])
    x, _ = FIRST.arrays(seed=1)
    outputs = model(x).numpy().astype(np.float64)
    y = np.random.default_rng(2).normal(size=outputs.shape)
    dy = 2 * (outputs - y) / outputs.size
    return model, x, y.astype(np.float32), dy


def test_input_gradients_are_compared_layer_by_layer():
    model, x, y, dy = two_layers()
    report = measure(model, x, y, tfag.MaxGradient(k=2, scale=0.5), gradient="input")
    filters = model.layers[1].kernel.numpy()
    exact = exact_of_rows(SECOND, filters, SECOND.channels(dy))
    found = 0.5 * exact_of_rows(SECOND, filters, max_rows(SECOND, dy, 2)[0])
    (row,) = report.rows
    assert (row.layer, row.index) == ("second", 2)
    wanted = expected_numbers([found.ravel()], exact)
    assert numbers(row) == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert report.without_gradient == ("first",)
    assert report.gradient == "input"


def test_errors_of_input_gradients_travel_to_the_filters_of_earlier_layers():
    model, x, y, dy = two_layers()
    method = tfag.MaxGradient(k=2, scale=0.5)
    report = measure(model, x, y, ["full", method], gradient="propagated", repeats=3)
    filters = model.layers[1].kernel.numpy()
    rows = 0.5 * max_rows(SECOND, dy, 2)[0]
    exact, found = (
        FIRST.dense_gradient(x, exact_of_rows(SECOND, filters, dy_rows))
        for dy_rows in (SECOND.channels(dy), rows)
    )
    first, second = report.rows[:2], report.rows[2:]
    assert [row.layer for row in report.rows] == ["first"] * 2 + ["second"] * 2
    assert numbers(first[0]) == pytest.approx([1, 0, 1, 0, 0], abs=1e-6)
    wanted = expected_numbers([found.ravel()], exact)
    assert numbers(first[1]) == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    for row in second:
        assert numbers(row) == pytest.approx([1, 0, 1, 0, 0], abs=1e-12)
    assert all(math.isnan(row.method_ms) for row in report.rows)


def test_only_the_layers_that_are_named_propagate():
    model, x, y, _ = two_layers()
    report = measure(model, x, y, "zero", gradient="propagated", layers=[1])
    assert numbers(report.rows[0]) == pytest.approx([1, 0, 1, 0, 0], abs=1e-12)
    report = measure(model, x, y, "zero", gradient="propagated")
    assert numbers(report.rows[0]) == pytest.approx([0, 1, 0, 1, 0])


@pytest.mark.parametrize("gradient", BOTH)
def test_draws_differ_and_their_mean_has_little_bias(gradient):
    model, x, y, _ = two_layers()
    arguments = {"gradient": gradient, "draws": 16}
    report = measure(model, x, y, ["sampled", "row-sampled"], **arguments)
    for row in report.rows[:2]:
        assert row.variance > 0.1
        # What can't be told from none.
        assert row.bias < 2 * math.sqrt(row.variance / 16)
    assert (
        report_numbers(measure(model, x, y, "sampled", **arguments))
        == (report_numbers(report)[::2])
    )


@pytest.mark.parametrize("gradient", BOTH)
@model_zoo.each_model_slowly
def test_input_gradient_of_all_positions_changes_nothing_in_any_model(make, gradient):
    model = make()
    x, y = zoo_batch(model)
    every = tfag.MaxGradient(k=10**6, scale=1.0)
    if (make, gradient) == (model_zoo.several_ends, "input"):
        # All its convolutions come first.
        with pytest.raises(ValueError, match="has no input gradient to compare"):
            measure(model, x, y, every, gradient=gradient, loss=zoo_loss(y))
        return
    before = state(model)
    report = measure(model, x, y, ["full", every], gradient=gradient, loss=zoo_loss(y))
    for row in report.rows:
        assert numbers(row) == pytest.approx([1, 0, 1, 0, 0], abs=1e-2)
    for one, other in zip(before, state(model), strict=True):
        keras.tree.map_structure(np.testing.assert_array_equal, one, other)


def test_model_with_an_approximate_input_gradient_is_measured_as_a_plain_one():
    model, x, y, _ = two_layers()
    gradients = ("filter", *BOTH)
    plain = [measure(model, x, y, "max", gradient=gradient) for gradient in gradients]
    tfag.approximate_gradients(
        model, tfag.Constant("sampled"), input_gradient="sampled"
    )
    for gradient, expected in zip(gradients, plain, strict=True):
        found = measure(model, x, y, "max", gradient=gradient)
        assert report_numbers(found) == report_numbers(expected)


def test_frozen_layers_pass_their_input_gradient_on():
    model, x, y, _ = two_layers()
    model.layers[1].trainable = False
    report = measure(model, x, y, "zero", gradient="input")
    assert [row.layer for row in report.rows] == ["second"]
    report = measure(model, x, y, "zero", gradient="propagated")
    assert [row.layer for row in report.rows] == ["first"]
    assert numbers(report.rows[0]) == pytest.approx([0, 1, 0, 1, 0])
    assert report.without_gradient == ("second",)


def test_times_of_input_gradients_are_there_if_they_were_measured():
    model, x, y, _ = two_layers()
    (row,) = measure(model, x, y, "max", gradient="input", repeats=2).rows
    assert 0 < row.dense_ms < math.inf
    assert 0 < row.method_ms < math.inf


def test_what_has_no_input_gradient_is_refused():
    model, x, y, _ = two_layers()
    with pytest.raises(ValueError, match="gradient='output' must be one of 'filter', "):
        measure(model, x, y, "max", gradient="output")
    for gradient in BOTH:
        with pytest.raises(TypeError, match=r"Recording.* has no input gradient"):
            measure(model, x, y, Recording(), gradient=gradient)
    with pytest.raises(
        ValueError, match=r"no input gradient to compare.*first precede"
    ):
        measure(model, x, y, "max", gradient="input", layers="first")
