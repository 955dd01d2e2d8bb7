"""The variance of row-sampled gradients: its formula, and that of real draws."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from reference import GEOMETRIES, SOME_GEOMETRIES, Problem
from row_data import KINDS, PROBLEM, row_data
from row_reference import VARIANTS, row_sampled_variance
from unbiasedness import uneven_problem

import tf_approxgrad as tfag
from tf_approxgrad.gradients import extra_variance
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.extra_variance import row_sampled_variances
from tf_approxgrad.gradients.inputs import GradientInputs

SHARES = (0.75, 0.3, 0.05)
# Whether the arguments of a method change, its variance is compared.
CASES = [(share, variant) for share in SHARES for variant in VARIANTS]
METHODS = [
    tfag.RowSampledGradient(share, **VARIANTS[variant]) for share, variant in CASES
]


def inputs_of(problem: Problem, x: Any, dy: Any) -> GradientInputs:
    arguments = problem.function_arguments()
    return GradientInputs(
        input=tf.convert_to_tensor(x),
        filter_sizes=tf.constant(problem.filter_sizes),
        out_backprop=tf.convert_to_tensor(dy),
        arguments=ConvArguments.parse(
            arguments["strides"],
            arguments["padding"],
            arguments["data_format"],
            arguments["dilations"],
        ),
    )


def variances(
    problem: Problem,
    x: Any,
    dy: Any,
    methods: list[tfag.RowSampledGradient] | None = None,
) -> np.ndarray:
    return row_sampled_variances(inputs_of(problem, x, dy), methods or METHODS).numpy()


def expected_variances(problem: Problem, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    return np.array(
        [
            row_sampled_variance(problem, x, dy, share, **VARIANTS[variant])
            for share, variant in CASES
        ]
    )


# --- The formula ---------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_variances_are_those_of_the_reference(name: str, data_format: str) -> None:
    problem = dataclasses.replace(GEOMETRIES[name], data_format=data_format)
    x, dy = problem.arrays()
    found = variances(problem, x, dy)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected_variances(problem, x, dy), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("name", SOME_GEOMETRIES)
def test_variances_of_other_dtypes_are_those_of_the_reference(
    name: str, dtype: str
) -> None:
    problem = dataclasses.replace(GEOMETRIES[name], dtype=dtype)
    x, dy = problem.arrays()
    found = variances(problem, x, dy)
    np.testing.assert_allclose(found, expected_variances(problem, x, dy), rtol=1e-9)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_variances_beside_a_gpu_are_those_of_the_reference(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra_variance, "may_be_on_gpu", lambda _: True)
    problem = GEOMETRIES[name]
    x, dy = problem.arrays()
    found = variances(problem, x, dy)
    np.testing.assert_allclose(found, expected_variances(problem, x, dy), rtol=1e-9)


def test_variances_under_xla_are_those_of_the_reference() -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    inputs = inputs_of(problem, x, dy)
    compiled = tf.function(
        lambda: row_sampled_variances(inputs, METHODS), jit_compile=True
    )
    np.testing.assert_allclose(
        compiled(), expected_variances(problem, x, dy), rtol=1e-9
    )


@pytest.mark.parametrize("beside_a_gpu", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("in_dy", [False, True])
def test_what_is_not_finite_shows(
    in_dy: bool, value: float, beside_a_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra_variance, "may_be_on_gpu", lambda _: beside_a_gpu)
    problem = Problem()
    x, dy = problem.arrays()
    (dy if in_dy else x)[1, 2, 3, 1] = value
    assert not np.isfinite(variances(problem, x, dy)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_variances_of_each_kind_of_data_are_those_of_the_reference(kind: str) -> None:
    x, dy = row_data(kind)
    expected = expected_variances(PROBLEM, x, dy)
    size = np.sum(PROBLEM.dense_gradient(x, dy) ** 2)
    found = variances(PROBLEM, x, dy)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * size)


def test_variances_in_a_graph_of_unknown_shapes_are_the_same() -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    inputs = inputs_of(problem, x, dy)

    @functools.partial(
        tf.function,
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4)],
    )
    def compute(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        return row_sampled_variances(
            dataclasses.replace(inputs, input=x, out_backprop=dy), METHODS
        )

    np.testing.assert_allclose(
        compute(x, dy), expected_variances(problem, x, dy), rtol=1e-9
    )


def test_variance_grows_with_the_square_of_the_gradient() -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    found = variances(problem, x, dy)
    assert np.all(found > 0)
    np.testing.assert_allclose(variances(problem, 2 * x, 4 * dy), 64 * found)


def test_product_with_the_largest_kept_has_the_least_variance() -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    for share in (0.5, 0.25):
        methods = [tfag.RowSampledGradient(share, **v) for v in VARIANTS.values()]
        found = dict(zip(VARIANTS, variances(problem, x, dy, methods), strict=True))
        assert found["product, largest"] == min(found.values())
        assert found["largest"] < found["norm"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_rows_have_no_variance(variant: str) -> None:
    problem, x, dy = uneven_problem(by_rows=True)
    method = tfag.RowSampledGradient(share=1.0, **VARIANTS[variant])
    (found,) = variances(problem, x, dy, [method])
    assert found == pytest.approx(0, abs=1e-9 * float(np.sum(np.square(dy))))


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_that_is_zero_has_no_variance(variant: str) -> None:
    problem = Problem()
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(0.25, **VARIANTS[variant])
    for arrays in ((x, 0 * dy), (0 * x, dy)):
        assert variances(problem, *arrays, [method]) == [0]


def test_few_rows_that_are_all_kept_have_no_variance() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    dy[:, 3:] = 0
    methods = [
        tfag.RowSampledGradient(0.5, probability=probability, keep_largest=True)
        for probability in ("norm", "product")
    ]
    largest = variances(problem, x, dy, [tfag.RowSampledGradient(0.5)])[0]
    assert np.all(variances(problem, x, dy, methods) < 1e-9 * largest)
