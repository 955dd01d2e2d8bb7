"""The reference against TensorFlow's own op, and against sums done by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from reference import GEOMETRIES, Problem, assert_gradient, keep_largest, to_nhwc


def tensorflow_gradient(problem: Problem, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Conv2DBackpropFilter, asked only for what it can do on every CPU.

    Padding is done beforehand. A dilated filter is the spread-out one, of which only
    every `dilation`-th tap counts.
    """
    kernel = [
        (taps - 1) * dilation + 1
        for taps, dilation in zip(problem.kernel, problem.dilations, strict=True)
    ]
    padded = np.pad(to_nhwc(x, problem.data_format), ((0, 0), *problem.pads, (0, 0)))
    gradient = tf.raw_ops.Conv2DBackpropFilter(
        input=padded,
        filter_sizes=[*kernel, problem.ci, problem.co],
        out_backprop=to_nhwc(dy, problem.data_format),
        strides=[1, *problem.strides, 1],
        padding="VALID",
    )
    return gradient.numpy()[:: problem.dilations[0], :: problem.dilations[1]]


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_dense_is_what_tensorflow_computes(geometry: str, data_format: str) -> None:
    problem = dataclasses.replace(
        GEOMETRIES[geometry], data_format=data_format, dtype="float64"
    )
    x, dy = problem.arrays()
    expected = tensorflow_gradient(problem, x, dy)
    assert_gradient(problem.dense_gradient(x, dy), expected, 1e-11)


def test_dense_is_what_tensorflow_computes_in_float32() -> None:
    problem = Problem(strides=(2, 1), values="integers")
    x, dy = problem.arrays()
    expected = tensorflow_gradient(problem, x, dy)
    np.testing.assert_array_equal(problem.dense_gradient(x, dy), expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_output_has_the_size_that_tensorflow_gives(geometry: str) -> None:
    problem = GEOMETRIES[geometry]
    x, dy = problem.arrays()
    outputs = tf.raw_ops.Conv2D(
        input=x, filter=tf.zeros(problem.filter_sizes), **problem.op_arguments()
    )
    assert outputs.shape == dy.shape


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_keeping_all_positions_is_dense(geometry: str) -> None:
    problem = GEOMETRIES[geometry]
    x, dy = problem.arrays()
    everything = problem.max_gradient(x, dy, problem.positions)
    assert_gradient(everything, problem.dense_gradient(x, dy), 1e-11)


def test_one_kept_position_is_algorithm_1_by_hand() -> None:
    problem = Problem(
        kernel=(2, 1), padding="VALID", n=2, size=(3, 2), ci=1, co=2, dtype="float64"
    )
    x = np.array([[1, 2], [3, 4], [5, 6], [10, 20], [30, 40], [50, 60]])
    dy = np.array(
        [
            # Channel 0: -5 at p = 2, sum -3. Channel 1: 2 and -2 tie, p = 1, sum 1.
            [[[1, 0], [1, 2]], [[-5, -2], [0, 1]]],
            # Channel 0: 7 at p = 3, sum 8. Channel 1: all zero.
            [[[0, 0], [1, 0]], [[0, 0], [7, 0]]],
        ]
    )
    result = problem.max_gradient(x.reshape(2, 3, 2, 1), dy, scale=0.5)
    # Example 0: p = 2 sees (3, 5), p = 1 sees (2, 4). Example 1: p = 3 sees (40, 60).
    by_hand = [
        [0.5 * (-3 * 3 + 8 * 40), 0.5 * 1 * 2],
        [0.5 * (-3 * 5 + 8 * 60), 0.5 * 1 * 4],
    ]
    np.testing.assert_array_equal(result, np.reshape(by_hand, (2, 1, 1, 2)))


def test_residual_is_spread_over_the_kept_positions_by_hand() -> None:
    kept, weights = keep_largest(np.array([1.0, -4.0, 3.0, 4.0, -3.0]), 3)
    # -4 and 4 tie and precede; of 3 and -3 the first is kept. The rest sums to -2.
    assert kept.tolist() == [1, 3, 2]
    np.testing.assert_allclose(weights, [-4 - 2 / 3, 4 - 2 / 3, 3 - 2 / 3])


@pytest.mark.parametrize("k", [1, 2, 5, 11])
def test_weights_preserve_the_sum_of_a_channel(k: int) -> None:
    dy = np.random.default_rng(k).standard_normal(11)
    _, weights = keep_largest(dy, k)
    assert len(weights) == k
    assert weights.sum() == pytest.approx(dy.sum(), abs=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "half"])
@pytest.mark.parametrize("k", [1, 3])
def test_allowed_error_is_smaller_than_one_wrong_choice(k: int, dtype: str) -> None:
    problem = Problem(n=1, dtype=dtype)
    x, dy = problem.arrays()
    allowed = problem.max_error(x, dy, k)
    # The last kept position and the first not kept one trade places: the sum stays.
    channels = dy.reshape(1, problem.positions, problem.co)
    wrong = channels.copy()
    for co in range(problem.co):
        kept, _ = keep_largest(channels[0, :, co].astype(np.float64), k + 1)
        wrong[0, kept[[k - 1, k]], co] = channels[0, kept[[k, k - 1]], co]
    difference = problem.max_gradient(x, wrong.reshape(dy.shape), k)
    difference -= problem.max_gradient(x, dy, k)
    # A patch or two may lie in the padding, where both are zero.
    assert np.mean(np.abs(difference) > allowed) > 0.9
