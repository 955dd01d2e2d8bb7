"""The measurement of what sampling tiles would be worth."""

import numpy as np
import pytest
import tensorflow as tf

import tf_approxgrad as tfag
from benchmarks.variance import tile_sampling
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.inputs import GradientInputs


def inputs(size: int) -> GradientInputs:
    x = tf.random.stateless_normal([2, size, size, 3], [1, 2])
    dy = tf.random.stateless_normal([2, size, size, 4], [3, 4])
    arguments = ConvArguments.parse(1, "SAME", "NHWC", 1)
    return GradientInputs(x, tf.constant([3, 3, 3, 4]), dy, arguments)


@pytest.mark.parametrize("size", [4, 7])
def test_terms_are_the_gradients_of_tiles_and_rows(size: int) -> None:
    of = inputs(size)
    found = tile_sampling.terms(of)
    dy = of.out_backprop.numpy()
    for name, edge in (("tiles", 4), ("rows", 1)):
        squares = []
        for n in range(2):
            for row in range(0, size, edge):
                for col in range(0, size, edge):
                    part = np.zeros_like(dy)
                    area = (n, slice(row, row + edge), slice(col, col + edge))
                    part[area] = dy[area]
                    gradient = tfag.conv2d_backprop_filter(
                        of.input, [3, 3, 3, 4], part, 1, "SAME", method="full"
                    )
                    squares.append(float(tf.reduce_sum(gradient**2)))
        sizes, terms = found[name]
        np.testing.assert_allclose(np.sort(terms), np.sort(squares), rtol=1e-4)
        assert sizes.shape == terms.shape


def test_probabilities_add_up_to_the_share_and_keep_the_largest() -> None:
    sizes = np.array([100.0, 50.0, 1.0, 2.0, 3.0, 4.0])
    probability = tile_sampling.inclusion(sizes, 0.5)
    np.testing.assert_allclose(probability, [1, 1, 0.1, 0.2, 0.3, 0.4])


def test_variance_is_that_of_draws() -> None:
    sizes, terms = np.array([4.0, 2.0, 1.0, 1.0]), np.array([3.0, -2.0, 1.0, 0.5])
    probability = tile_sampling.inclusion(sizes, 0.5)
    drawn = np.random.default_rng(0).random([200_000, 4]) < probability
    estimates = (drawn * terms / probability).sum(axis=1)
    expected = tile_sampling.extra_variance(sizes, terms**2, 0.5)
    assert estimates.var() == pytest.approx(expected, rel=0.03)
