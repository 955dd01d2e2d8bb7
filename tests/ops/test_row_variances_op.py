"""The op of the variances of `row-sampled`: what it refuses, and that it agrees."""

import numpy as np
import pytest
import tensorflow as tf
from programs import with_threads
from reference import Problem
from row_reference import row_sampled_variance

from tf_approxgrad.gradients import op_library

PROBLEM = Problem()
WAYS = [("norm", False), ("product", False), ("norm", True), ("product", True)]


def call(problem=PROBLEM, arrays=None, draws=(4, 40, 4, 40), **others):
    x, dy = problem.arrays() if arrays is None else arrays
    arguments = {
        "filter_sizes": problem.filter_sizes,
        "probabilities": [probability for probability, _ in WAYS],
        "keep_largest": [keep_largest for _, keep_largest in WAYS],
        **problem.op_arguments(),
    }
    return op_library.approx_row_variances(
        input=x,
        out_backprop=dy,
        draws=tf.constant(draws, tf.int64),
        **arguments | others,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"draws": [4, 4, 0, 4]}, r"draws is 0, but it must be from 1 to 126"),
        ({"draws": [4, 127, 4, 4]}, r"draws is 127, but it must be from 1 to 126"),
        ({"draws": [4, 4]}, r"draws has the shape \[2\].* a vector of 4 elements"),
        ({"draws": 4}, r"draws has the shape \[\].* a vector of 4 elements"),
        ({"keep_largest": [True]}, r"keep_largest has 1 elements.*probabilities has 4"),
        ({"probabilities": ["size"] * 4}, r"probabilities.*size"),
        ({"filter_sizes": [3, 3, 4, 5]}, r"filter_sizes\[2\].*4.*channels of input"),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments: dict, words: str) -> None:
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        call(**arguments)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        tf.function(lambda: call(**arguments))()


def test_shape_is_known_when_the_graph_is_made() -> None:
    concrete = tf.function(call).get_concrete_function()
    assert concrete.output_shapes == [4]


@pytest.mark.parametrize(("n", "ci", "co"), [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_draw_has_no_variance(n: int, ci: int, co: int) -> None:
    np.testing.assert_array_equal(call(Problem(n=n, ci=ci, co=co)), np.zeros(4))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_many_rows_have_the_variance_of_the_reference(share: float) -> None:
    # More rows than a block holds.
    problem = Problem(n=5, size=(31, 29))
    x, dy = problem.arrays()
    draws = int(share * problem.n * problem.positions)
    expected = [
        row_sampled_variance(problem, x, dy, share, probability, keep_largest)
        for probability, keep_largest in WAYS
    ]
    found = call(problem, (x, dy), [draws] * 4)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


PRINT_DIGESTS = """
from reference import Problem
from test_row_variances_op import call
for dtype in ("float32", "half"):
    for ci, co in ((19, 37), (70, 90)):
        problem = Problem(n=13, size=(31, 29), ci=ci, co=co, dtype=dtype)
        show(call(problem).numpy())
"""


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit() -> None:
    one, two, five = with_threads(PRINT_DIGESTS, 1, 2, 5)
    assert len(set(one)) == 4
    assert one == two == five
