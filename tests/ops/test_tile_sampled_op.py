"""The op of the method `tile-sampled`: what it refuses, draws and computes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from programs import with_threads
from reference import Problem
from row_reference import TILES, row_sampled_gradient, tile_weights, uniform

from tf_approxgrad.gradients import op_library

# 6 tiles of each example, of which 4 aren't whole.
PROBLEM = Problem(n=3, size=(11, 7), ci=13, co=17)
MOST = 18


def call(problem=PROBLEM, arrays=None, step=0, draws=4, **others):
    x, dy = problem.arrays() if arrays is None else arrays
    arguments = {"filter_sizes": problem.filter_sizes, **problem.op_arguments()}
    return op_library.approx_tile_sampled_conv2d_backprop_filter(
        input=x,
        out_backprop=dy,
        step=tf.constant(step, tf.int64),
        draws=tf.constant(draws, tf.int64),
        **arguments | others,
    )


def uneven(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    x, dy = problem.arrays()
    sizes = np.random.default_rng(5).normal(size=(*dy.shape[:3], 1))
    return x + 1, (dy * np.exp(1.5 * sizes)).astype(dy.dtype)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"draws": 0}, r"draws is 0, but it must be from 1 to 18, the number of tiles"),
        ({"draws": 19}, r"draws is 19, but it must be from 1 to 18"),
        ({"draws": [4]}, r"step and draws have the shapes .*must be scalars"),
        ({"step": [0, 1]}, r"step and draws have the shapes .*must be scalars"),
        ({"layer": 2**32}, r"layer is 4294967296, but it must be from 0 to 429496729"),
        ({"filter_sizes": [3, 3, 4, 17]}, r"filter_sizes\[2\].*4.*channels of input"),
        (
            {"problem": dataclasses.replace(PROBLEM, kernel=(1, 1))},
            r"the filter is 1x1.*needs a 3x3 filter",
        ),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments: dict, words: str) -> None:
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        call(**arguments)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        tf.function(lambda: call(**arguments))()


def test_shape_is_known_when_the_graph_is_made() -> None:
    concrete = tf.function(call).get_concrete_function()
    assert concrete.output_shapes == PROBLEM.filter_sizes


@pytest.mark.parametrize(("n", "ci", "co"), [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_sum_gives_zeros(n: int, ci: int, co: int) -> None:
    problem = Problem(n=n, ci=ci, co=co)
    np.testing.assert_array_equal(call(problem), np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3))])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_the_drawn_tiles_are_those_of_the_reference(share: float, padding) -> None:
    problem = dataclasses.replace(PROBLEM, padding=padding)
    x, dy = uneven(problem)
    seed, layer, step = -5, 7, 2**33 + 3
    number = uniform(seed, layer, step, TILES)
    weights = tile_weights(problem, x, dy, share, number)
    tiles = np.prod([-(-size // 4) for size in problem.output_size]) * problem.n
    found = call(
        problem,
        (x, dy),
        step,
        draws=max(1, int(share * tiles)),
        seed=seed,
        layer=layer,
    )
    expected = row_sampled_gradient(problem, x, dy, weights)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 3e-6


def test_all_tiles_that_are_not_zero_are_drawn_once() -> None:
    x, dy = PROBLEM.arrays()
    dy[:, 4:] = 0
    expected = PROBLEM.dense_gradient(x, dy)
    for draws in (6, MOST):
        found = call(PROBLEM, (x, dy), draws=draws)
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 3e-6


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_not_finite_makes_all_of_it_nan(place: int, value: float) -> None:
    arrays = PROBLEM.arrays()
    arrays[place][2, 10, 6, 12] = value
    found = call(PROBLEM, arrays, draws=1)
    np.testing.assert_array_equal(found, np.full(PROBLEM.filter_sizes, np.nan))


PRINT_DIGESTS = """
from reference import Problem
from test_tile_sampled_op import call, uneven
for ci, co in ((19, 37), (70, 90)):
    problem = Problem(n=13, size=(31, 29), ci=ci, co=co)
    for step in range(2):
        show(call(problem, uneven(problem), step, draws=200).numpy())
"""


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit() -> None:
    one, two, five = with_threads(PRINT_DIGESTS, 1, 2, 5)
    assert len(set(one)) == 4
    assert one == two == five
