"""The filter gradient from drawn tiles, by its kernel and by TensorFlow's ops."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from recording import operations
from reference import GEOMETRIES, Problem, from_nhwc, to_nhwc
from unbiasedness import gradients, is_unbiased

import tf_approxgrad as tfag

# Enough channels for Winograd's kernel, and maps with tiles that aren't whole.
PROBLEM = Problem(n=3, size=(11, 7), ci=13, co=17)
OP = "ApproxTileSampledConv2DBackpropFilter"


def uneven(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Tiles of very different sizes; X isn't around zero."""
    plain = dataclasses.replace(problem, data_format="NHWC", dtype="float32")
    x, dy = plain.arrays()
    generator = np.random.default_rng(5)
    sizes = np.exp(1.5 * generator.normal(size=(*dy.shape[:3], 1)))
    arrays = ((x + 1).astype(np.float64), dy * sizes)
    return tuple(
        from_nhwc(a.astype(problem.dtype), problem.data_format) for a in arrays
    )


def weights_of_tiles(dy: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The factor of each tile [N, tile rows, tile columns], by least squares."""
    n, rows, cols, _ = dy.shape
    found = np.zeros((n, -(-rows // 4), -(-cols // 4)))
    for place in np.ndindex(found.shape):
        area = (
            place[0],
            slice(4 * place[1], 4 * place[1] + 4),
            slice(4 * place[2], 4 * place[2] + 4),
        )
        found[place] = np.sum(used[area] * dy[area]) / np.sum(dy[area] ** 2)
    return found


def drawn_weights(method: tfag.GradientMethod, step: int = 3) -> np.ndarray:
    """Weights of the tiles: a 1x1 filter of an identity shows all of dY."""
    generator = np.random.default_rng(1)
    dy = generator.normal(size=(2, 9, 6, 3)) * np.exp(
        generator.normal(size=(2, 9, 6, 1))
    )
    positions = 2 * 9 * 6
    x = np.eye(positions).reshape(2, 9, 6, positions)
    problem = Problem((1, 1), n=2, size=(9, 6), ci=positions, co=3, dtype="float64")
    used = filter_gradient(problem, x, dy, method, step).reshape(dy.shape)
    weights = weights_of_tiles(dy, used)
    spread = weights.repeat(4, axis=1).repeat(4, axis=2)[:, :9, :6]
    np.testing.assert_allclose(used, dy * spread[..., None], atol=1e-9)
    return weights


def test_drawn_tiles_are_whole_and_as_many_as_the_share() -> None:
    for share, expected in ((0.5, 6), (0.25, 3), (0.01, 1)):
        weights = drawn_weights(tfag.TileSampledGradient(share))
        assert weights.shape == (2, 3, 2)
        assert np.count_nonzero(weights) == expected


def test_no_tile_is_drawn_twice_and_the_largest_count_once() -> None:
    weights = drawn_weights(tfag.TileSampledGradient(0.75))
    drawn = weights[weights != 0]
    assert drawn.min() == pytest.approx(1)
    assert np.sum(np.isclose(drawn, 1)) > 1


def test_draws_depend_on_seed_and_step() -> None:
    draws = [
        drawn_weights(tfag.TileSampledGradient(0.25, seed=seed), step)
        for seed, step in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], draws[3])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kernel_and_composition_agree(dtype: str, data_format: str) -> None:
    problem = dataclasses.replace(PROBLEM, dtype=dtype, data_format=data_format)
    x, dy = uneven(problem)
    method = tfag.TileSampledGradient(0.4, seed=2)
    graph = tf.function(
        lambda: tfag.conv2d_backprop_filter(
            x,
            problem.filter_sizes,
            dy,
            method=method,
            step=tf.constant(5),
            **problem.function_arguments(),
        )
    ).get_concrete_function()
    assert OP in operations(graph.graph)
    # In float64 TensorFlow's op computes it, which takes NHWC only.
    wide = dataclasses.replace(problem, dtype="float64", data_format="NHWC")
    arrays = [to_nhwc(a, data_format).astype("float64") for a in (x, dy)]
    expected = filter_gradient(wide, *arrays, method, 5)
    error = np.linalg.norm(
        filter_gradient(problem, x, dy, method, 5).astype("float64") - expected
    )
    limit = 3e-6 if dtype == "float32" else 2.0**-7
    assert error <= limit * np.linalg.norm(expected)


def test_xla_draws_the_same_tiles() -> None:
    x, dy = uneven(PROBLEM)
    method = tfag.TileSampledGradient(0.4, seed=2)

    @tf.function(jit_compile=True)
    def compiled(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x,
            PROBLEM.filter_sizes,
            dy,
            method=method,
            step=tf.constant(5),
            **PROBLEM.function_arguments(),
        )

    expected = filter_gradient(PROBLEM, x, dy, method, 5)
    np.testing.assert_allclose(
        compiled(x, dy), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("name", ["5x3 all", "odd channels"])
def test_any_geometry_is_the_gradient_of_weighted_tiles(name: str) -> None:
    problem = GEOMETRIES[name]
    x, dy = problem.arrays()
    method = tfag.TileSampledGradient(0.5, seed=4)
    found = filter_gradient(problem, x, dy, method, 1)
    assert found.shape == tuple(problem.filter_sizes)
    everything = filter_gradient(problem, x, dy, tfag.TileSampledGradient(1.0), 1)
    np.testing.assert_allclose(
        everything,
        problem.dense_gradient(x, dy),
        rtol=1e-4,
        atol=1e-4 * np.abs(everything).max(),
    )


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_mean_over_many_steps_is_the_exact_gradient(share: float) -> None:
    problem = Problem(n=2, size=(9, 6), ci=12, co=12)
    x, dy = uneven(problem)
    draws = gradients(problem, x, dy, tfag.TileSampledGradient(share), 1000)
    assert draws.std(axis=0).min() > 0
    assert is_unbiased(draws, problem.dense_gradient(x, dy))


def test_an_unknown_batch_is_drawn_from() -> None:
    x, dy = uneven(PROBLEM)
    method = tfag.TileSampledGradient(0.4)
    unknown = tf.TensorSpec([None, None, None, PROBLEM.ci])
    of_output = tf.TensorSpec([None, None, None, PROBLEM.co])

    @tf.function(input_signature=[unknown, of_output])
    def compute(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d_backprop_filter(
            x,
            PROBLEM.filter_sizes,
            dy,
            method=method,
            step=tf.constant(5),
            **PROBLEM.function_arguments(),
        )

    expected = filter_gradient(PROBLEM, x, dy, method, 5)
    np.testing.assert_allclose(compute(x, dy), expected, rtol=1e-5, atol=1e-4)
    nothing = compute(x[:0], dy[:0])
    assert nothing.shape == tuple(PROBLEM.filter_sizes)
    assert not np.any(nothing)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("in_dy", [False, True])
def test_what_is_not_finite_shows(in_dy: bool, value: float) -> None:
    x, dy = uneven(PROBLEM)
    (dy if in_dy else x)[1, 2, 3, 1] = value
    found = filter_gradient(PROBLEM, x, dy, tfag.TileSampledGradient(0.3), 5)
    assert np.isnan(found).all()


def test_a_gradient_of_zero_is_zero() -> None:
    x, dy = uneven(PROBLEM)
    found = filter_gradient(PROBLEM, x, 0 * dy, tfag.TileSampledGradient(0.3), 5)
    assert not found.any()


def test_there_is_no_input_gradient() -> None:
    with pytest.raises(TypeError, match="has no input gradient"):
        tfag.ApproxConv2D(4, 3, method="full", input_gradient="tile-sampled")
