"""The op of the method `row-sampled`: what it refuses, and that it always agrees."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from marks import slowly_but
from programs import with_instruction_sets, with_threads
from reference import GEOMETRIES, QUICK_GEOMETRIES, SOME_GEOMETRIES, Problem

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.xla.rows import row_sampled_filter_gradient

PROBLEM = Problem()
SIZES = [3, 3, 3, 5]


def call(problem=PROBLEM, filter_sizes=SIZES, step=0, draws=4, **others):
    x, dy = problem.arrays()
    return op_library.approx_row_sampled_conv2d_backprop_filter(
        input=x,
        filter_sizes=filter_sizes,
        out_backprop=dy,
        step=tf.constant(step, tf.int64),
        draws=tf.constant(draws, tf.int64),
        **problem.op_arguments() | others,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"draws": 0}, r"draws is 0, but it must be from 1 to 126"),
        ({"draws": 127}, r"draws is 127, but it must be from 1 to 126"),
        ({"draws": [4]}, r"step and draws have the shapes .*must be scalars"),
        ({"step": [0, 1]}, r"step and draws have the shapes .*must be scalars"),
        ({"scale": np.inf}, r"scale is inf, but it must be finite"),
        ({"layer": 2**32}, r"layer is 4294967296, but it must be from 0 to 429496729"),
        ({"layer": -1}, r"layer.*-1"),
        ({"probability": "size"}, r"probability.*size"),
        ({"filter_sizes": [3, 3, 4, 5]}, r"filter_sizes\[2\].*4.*channels of input"),
        ({"strides": [1, 2, 1, 1]}, r"number of rows of out_backprop"),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments: dict, words: str) -> None:
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        call(**arguments)


def test_number_of_rows_is_checked_for_scalars_when_the_graph_is_made() -> None:
    with pytest.raises(ValueError, match="must be scalars"):
        tf.function(lambda: call(draws=[1, 2])).get_concrete_function()


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_shape_is_that_of_the_filter(data_format: str) -> None:
    problem = Problem(data_format=data_format)
    concrete = tf.function(lambda: call(problem)).get_concrete_function()
    assert concrete.output_shapes == SIZES


@pytest.mark.parametrize("n", [0, 2])
@pytest.mark.parametrize(("ci", "co"), [(0, 5), (3, 0), (3, 5)])
def test_nothing_to_sum_gives_zeros(n: int, ci: int, co: int) -> None:
    problem = Problem(n=n, ci=ci, co=co)
    if n and ci and co:
        problem = dataclasses.replace(problem, padding=((4, 4), (4, 4)), size=(0, 2))
    actual = call(problem, problem.filter_sizes)
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("keep_largest", [False, True])
@pytest.mark.parametrize("probability", ["norm", "product"])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("geometry", slowly_but(QUICK_GEOMETRIES, SOME_GEOMETRIES))
def test_kernel_is_the_composition_of_tensorflow_ops(
    geometry: str, data_format: str, probability: str, keep_largest: bool
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    x, dy = problem.arrays()
    method = tfag.RowSampledGradient(
        0.2, seed=-5, probability=probability, keep_largest=keep_largest
    )
    composed = row_sampled_filter_gradient(
        tf.constant(x),
        tf.constant(problem.filter_sizes),
        tf.constant(dy),
        ConvArguments.parse(**problem.function_arguments()),
        method,
        tf.constant(2**33 + 3, tf.int64),
        layer=7,
    )
    rows = problem.n * problem.positions
    actual = call(
        problem,
        problem.filter_sizes,
        step=2**33 + 3,
        draws=max(1, int(0.2 * rows)),
        seed=-5,
        layer=7,
        probability=probability,
        keep_largest=keep_largest,
    )
    tolerance = 1e-5 * max(1, np.abs(composed).max())
    np.testing.assert_allclose(actual, composed, rtol=1e-5, atol=tolerance)


PRINT_DIGESTS = """
from gradients import filter_gradient
from reference import Problem
import tf_approxgrad as tfag
for data_format in ("NHWC", "NCHW"):
    for dtype in ("float32", "half"):
        for ci, co in ((19, 37), (70, 90)):
            problem = Problem(
                n=13, size=(31, 29), ci=ci, co=co, dtype=dtype, data_format=data_format
            )
            x, dy = problem.arrays()
            for probability in ("norm", "product"):
                method = tfag.RowSampledGradient(0.2, probability=probability)
                gradient = filter_gradient(problem, x, dy, method, 1)
                show(gradient)
"""


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit() -> None:
    one, two, five = with_threads(PRINT_DIGESTS, 1, 2, 5)
    # Both layouts give the same bits.
    assert len(set(one)) == 8
    assert one == two == five


PRINT_ROWS = """
import numpy as np
from gradients import filter_gradient
from reference import Problem
import tf_approxgrad as tfag
for co in (1, 13, 48):
    for data_format in ("NHWC", "NCHW"):
        problem = Problem(
            (1, 1), n=1, size=(1, 900), ci=900, co=co, data_format=data_format
        )
        _, dy = problem.arrays()
        x = np.eye(900, dtype=np.float32)
        x = x.reshape(1, 1, 900, 900) if data_format == "NHWC" else x.T[None, :, None]
        for step in range(5):
            gradient = filter_gradient(
                problem, x, dy, tfag.RowSampledGradient(0.3), step
            )
            rows = np.flatnonzero(gradient.any(axis=(0, 1, 3)))
            print(",".join(map(str, rows)))
"""


@pytest.mark.slow
def test_every_instruction_set_draws_the_same_rows() -> None:
    baseline, avx2, avx512 = with_instruction_sets(PRINT_ROWS)
    # Both layouts draw the same rows.
    assert len(set(baseline)) == 15
    assert baseline == avx2 == avx512
