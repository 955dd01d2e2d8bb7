"""The method `sampled` against the reference.

There are two ways in: a whole filter gradient, and the weights alone, one by one.
"""

import dataclasses
import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import filter_gradient
from reference import (
    GEOMETRIES,
    Problem,
    assert_gradient,
    draw_in_proportion,
    to_nhwc,
    uniform_numbers,
)
from test_max_gradient import NON_FINITE

import tf_approxgrad as tfag
from tf_approxgrad import ops

DTYPES = ["float32", "float64", "bfloat16", "half"]
FORMATS = ["NHWC", "NCHW"]
COUNTS = [1, 2, 3, 7, 16, 17, 40]


def check_sampled(problem: Problem, k: int, step: int = 5) -> None:
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.SampledGradient(k, seed=9), step)
    draw = {"k": k, "seed": 9, "step": step}
    expected = problem.sampled_gradient(x, dy, **draw)
    assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


def weights_of(
    dy: np.ndarray,
    method: tfag.GradientMethod,
    step: Any = 0,
    dtype: str = "float32",
    data_format: str = "NHWC",
) -> np.ndarray:
    """The weights [P, Co] that dY [P, Co] gets: what meets an identity for X."""
    positions, channels = dy.shape
    problem = Problem(
        (1, 1),
        n=1,
        size=(1, positions),
        ci=positions,
        co=channels,
        dtype=dtype,
        data_format=data_format,
    )
    x = np.eye(positions).reshape(1, 1, positions, positions)
    dy = dy.reshape(1, 1, positions, channels)
    if data_format == "NCHW":
        x, dy = x.transpose(0, 3, 1, 2), dy.transpose(0, 3, 1, 2)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    result = filter_gradient(problem, x.astype(kind), dy.astype(kind), method, step)
    return result[0, 0].astype(np.float64)


@pytest.mark.parametrize("k", COUNTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sampled_is_the_reference(geometry: str, k: int) -> None:
    check_sampled(GEOMETRIES[geometry], k)


@pytest.mark.parametrize("k", [1, 3, 16])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sampled_is_the_reference_in_nchw(geometry: str, k: int) -> None:
    check_sampled(dataclasses.replace(GEOMETRIES[geometry], data_format="NCHW"), k)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("k", [1, 17])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sampled_is_the_reference_in_other_types(
    geometry: str, k: int, dtype: str, data_format: str
) -> None:
    problem = GEOMETRIES[geometry]
    check_sampled(dataclasses.replace(problem, dtype=dtype, data_format=data_format), k)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("k", "dtype"),
    [*((k, dtype) for k in (1, 16) for dtype in DTYPES), (300, "float64")],
)
def test_larger_maps_are_the_reference(k: int, dtype: str, data_format: str) -> None:
    """In float32, a few of thousands of draws may differ from those in float64."""
    problem = Problem(
        size=(57, 61), n=2, ci=2, co=3, dtype=dtype, data_format=data_format
    )
    check_sampled(problem, k)


@pytest.mark.parametrize("step", [0, 1, 2**32 - 1, 2**32, 2**40 + 7])
@pytest.mark.parametrize("seed", [0, 1, -1, 2**62 + 12345, -(2**63)])
def test_uniform_numbers_are_those_of_the_description(seed: int, step: int) -> None:
    problem = Problem(n=5, size=(3, 20), co=70)
    x, dy = problem.arrays()
    for dtype in ("float32", "float64"):
        problem = dataclasses.replace(problem, dtype=dtype)
        x, dy = x.astype(dtype), dy.astype(dtype)
        draw = {"k": 2, "seed": seed, "step": step}
        actual = filter_gradient(problem, x, dy, tfag.SampledGradient(2, 1, seed), step)
        expected = problem.sampled_gradient(x, dy, **draw)
        assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


def test_uniform_numbers_do_not_correlate_with_random_numbers() -> None:
    """The random gradient's numbers of the same seed, layer and step: in order of u."""
    u = uniform_numbers(4096, seed=3, layer=0, step=5, bits=53)
    problem = Problem((1, 1), n=1, ci=64, co=256)
    method = tfag.RandomGradient(1.0, seed=3)
    normals = filter_gradient(problem, *problem.arrays(), method, 5).ravel()
    for first in range(0, normals.size, u.size):
        some = normals[first : first + u.size]
        assert abs(np.corrcoef(u, some)[0, 1]) < 4 / np.sqrt(u.size)
        assert abs(np.corrcoef(u, np.abs(some))[0, 1]) < 4 / np.sqrt(u.size)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positions", [3, 5, 16, 17, 64, 199, 1100])
def test_there_are_always_k_draws_and_none_of_a_zero(
    positions: int, dtype: str, data_format: str
) -> None:
    rng = np.random.default_rng(positions)
    dy = rng.standard_normal((positions, 35)) * np.exp(
        3 * rng.standard_normal((positions, 35))
    )
    dy[rng.random(dy.shape) < 0.4] = 0
    dy[-1], dy[0, ::2], dy[1] = 0, 0, 1
    # Within the range of half.
    dy *= 1000 / np.abs(dy).sum(axis=0).max()
    dy = dy.astype(tf.as_dtype(dtype).as_numpy_dtype).astype(np.float64)
    total = np.abs(dy).sum(axis=0)
    assert total.all()
    for k in {1, 2, min(7, positions - 1), positions // 2, positions - 1}:
        method = tfag.SampledGradient(k, seed=k)
        weights = weights_of(dy, method, 1, dtype, data_format)
        tolerance = 1e-2 if dtype in ("bfloat16", "half") else 1e-5
        draws = np.abs(weights) * k / total
        np.testing.assert_allclose(draws.sum(axis=0), k, rtol=tolerance)
        np.testing.assert_allclose(draws, np.round(draws), atol=tolerance * k)
        drawn = weights != 0
        assert np.all(dy[drawn] != 0)
        np.testing.assert_array_equal(np.sign(weights[drawn]), np.sign(dy[drawn]))
        # Systematic: no position less often than k*|dY|/S rounded down, or more often
        # than it rounded up.
        mean = k * np.abs(dy) / total
        assert np.all(draws > mean - 1 - tolerance * k)
        assert np.all(draws < mean + 1 + tolerance * k)


@pytest.mark.parametrize("value", [0.5, -2.0])
def test_equal_values_are_drawn_at_equal_distances(value: float) -> None:
    dy = np.full((60, 9), value)
    for k in (1, 4, 12, 30):
        weights = weights_of(dy, tfag.SampledGradient(k), 3)
        assert np.count_nonzero(weights) == 9 * k
        for column in weights.T:
            (drawn,) = column.nonzero()
            assert np.all(np.diff(drawn) == 60 // k)
            np.testing.assert_allclose(column[drawn], 60 * value / k, rtol=1e-6)


def test_one_large_value_is_drawn_every_time_that_it_takes() -> None:
    dy = np.zeros((50, 6))
    dy[17] = -7
    weights = weights_of(dy, tfag.SampledGradient(5), 1)
    np.testing.assert_allclose(weights, dy, rtol=1e-6)


@pytest.mark.parametrize("excess", [0, 1, 1000, 2**40])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_drawing_as_many_as_there_are_positions_is_exactly_dense(
    geometry: str, data_format: str, excess: int
) -> None:
    problem = dataclasses.replace(
        GEOMETRIES[geometry], data_format=data_format, values="integers"
    )
    x, dy = problem.arrays()
    method = tfag.SampledGradient(problem.positions + excess)
    actual = filter_gradient(problem, x, dy, method, 0)
    np.testing.assert_array_equal(actual, problem.dense_gradient(x, dy))


@pytest.mark.parametrize("method", [tfag.SampledGradient, tfag.MaxGradient])
@pytest.mark.parametrize(
    ("share", "positions", "count"),
    [
        (0.01, 40, 1),
        (0.01, 240, 2),
        (0.1, 10, 1),
        (0.3, 10, 3),
        (0.7, 10, 7),
        (0.24, 10, 2),
        (0.26, 10, 3),
        (0.99999999, 10, 10),
        (1e-300, 10, 1),
    ],
)
def test_share_keeps_the_nearest_number_of_positions(
    method: type[tfag.GradientMethod], share: float, positions: int, count: int
) -> None:
    dy = np.random.default_rng(1).standard_normal((positions, 8))
    expected = weights_of(dy, method(count, scale=1.0))
    np.testing.assert_array_equal(weights_of(dy, method(share, scale=1.0)), expected)
    assert np.all(np.count_nonzero(expected, axis=0) <= count)


@pytest.mark.parametrize("value", [0.0, -0.0])
@pytest.mark.parametrize("k", [1, 5, 200])
def test_zero_output_gradient_gives_zeros(k: int, value: float) -> None:
    problem = Problem()
    x, dy = problem.arrays()
    method = tfag.SampledGradient(k)
    actual = filter_gradient(problem, x, np.full_like(dy, value), method, 0)
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


def test_infinite_input_shows_at_most_where_it_does_in_dense() -> None:
    problem = Problem(n=1, co=4)
    x, dy = problem.arrays()
    x[0, 0, 0, 1] = np.inf
    dy[..., 2] = 0
    with np.errstate(invalid="ignore"):
        dense = problem.dense_gradient(x, dy)
    for step in range(20):
        actual = filter_gradient(problem, x, dy, tfag.SampledGradient(3), step)
        assert np.isfinite(actual[np.isfinite(dense)]).all()


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("geometry", ["3x3", "explicit beyond reach", "5x3 all"])
@pytest.mark.parametrize("case", NON_FINITE)
def test_non_finite_output_gradient_shows_in_its_channel_alone(
    case: str, geometry: str, data_format: str
) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    x, dy = problem.arrays()
    channels = list(range(problem.co))
    bad = channels.pop(2)
    view = to_nhwc(dy, data_format)
    for n, row, col, value in NON_FINITE[case]:
        view[n, row % view.shape[1], col % view.shape[2], bad] = value
    finite = dy.copy()
    to_nhwc(finite, data_format)[..., bad] = 0
    for k in (1, 2, 3, 17, problem.positions, problem.positions + 4):
        actual = filter_gradient(problem, x, dy, tfag.SampledGradient(k), 1)
        assert not np.isfinite(actual[..., bad]).any()
        draw = {"k": k, "step": 1}
        assert_gradient(
            actual[..., channels],
            problem.sampled_gradient(x, finite, **draw)[..., channels],
            problem.sampled_error(x, finite, **draw)[..., channels],
        )


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_output_gradient_shows_in_every_type(
    value: float, dtype: str
) -> None:
    dy = np.ones((50, 3))
    dy[31, 1] = value
    for k in (1, 5, 50):
        actual = weights_of(dy, tfag.SampledGradient(k), 0, dtype)
        assert not np.isfinite(actual[:, 1]).any()
        assert np.isfinite(actual[:, [0, 2]]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "half"])
def test_small_types_are_summed_in_float32(dtype: str) -> None:
    """A sum of ones stops at 256 in bfloat16, at 2048 in half."""
    problem = Problem((1, 1), n=1, size=(59, 53), ci=1, co=1, dtype=dtype)
    x, dy = (np.ones_like(array) for array in problem.arrays())
    actual = filter_gradient(problem, x, dy, tfag.SampledGradient(), 0)
    assert actual.item() == np.array(59 * 53).astype(actual.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 0.1, -3.0, 1e-3, "batch"])
def test_scale_multiplies_the_gradient(scale: float | str, dtype: str) -> None:
    problem = Problem(n=3, dtype=dtype)
    x, dy = problem.arrays()
    method = tfag.SampledGradient(2, scale=scale)
    actual = filter_gradient(problem, x, dy, method, 4)
    draw = {"k": 2, "step": 4, "scale": 1 / 3 if scale == "batch" else scale}
    expected = problem.sampled_gradient(x, dy, **draw)
    assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


def test_sampled_is_a_function_of_seed_layer_and_step() -> None:
    problem = Problem(n=4, size=(6, 6), ci=8, co=32)
    x, dy = problem.arrays()
    method = tfag.SampledGradient(seed=7)
    first = filter_gradient(problem, x, dy, method, 3)
    for step in (3, np.int64(3), tf.constant(3), tf.constant(3, tf.int64)):
        again = filter_gradient(problem, x, dy, method, step)
        np.testing.assert_array_equal(again, first)
    counter = tf.Variable(3, dtype=tf.int64)
    np.testing.assert_array_equal(
        filter_gradient(problem, x, dy, method, counter), first
    )
    others = [
        filter_gradient(problem, x, dy, method, step)
        for step in (0, 4, 2**31, 2**32 + 3)
    ]
    others += [
        filter_gradient(problem, x, dy, tfag.SampledGradient(seed=seed), 3)
        for seed in (0, 8, -7, 3)
    ]
    for index, other in enumerate(others):
        for earlier in [first, *others[:index]]:
            assert not np.array_equal(earlier, other)
    # Neither the program's seed nor earlier draws have a say.
    tf.random.set_seed(1)
    np.testing.assert_array_equal(filter_gradient(problem, x, dy, method, 3), first)


def test_op_draws_by_its_layer() -> None:
    problem = Problem(n=3, co=20)
    x, dy = problem.arrays()
    for layer in (0, 1, 2**32 - 1):
        actual = ops.approx_sampled_conv2d_backprop_filter(
            input=x,
            filter_sizes=problem.filter_sizes,
            out_backprop=dy,
            step=tf.constant(6, tf.int64),
            k=3,
            seed=2,
            layer=layer,
            **problem.op_arguments(),
        )
        draw = {"k": 3, "seed": 2, "step": 6, "layer": layer}
        expected = problem.sampled_gradient(x, dy, **draw)
        assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


@pytest.mark.parametrize("function", ["conv2d", "conv2d_backprop_filter"])
def test_sampled_without_a_step_is_refused(function: str) -> None:
    x, dy = Problem().arrays()
    call = {
        "conv2d": lambda **options: tfag.conv2d(x, tf.ones([3, 3, 3, 5]), **options),
        "conv2d_backprop_filter": lambda **options: tfag.conv2d_backprop_filter(
            x, [3, 3, 3, 5], dy, **options
        ),
    }[function]
    with pytest.raises(ValueError, match=r"step.*None"):
        call(strides=1, padding="SAME", method=tfag.SampledGradient())


def test_layers_of_a_model_draw_by_their_index_and_the_step() -> None:
    """Two equal layers, whose kernels get other gradients: SGD shows them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 7, 6, 2)).astype(np.float32)
    y = rng.standard_normal((4, 7, 6, 3)).astype(np.float32)
    inputs = keras.Input((7, 6, 2))
    layers = [keras.layers.Conv2D(3, 3, padding="same", use_bias=False) for _ in "ab"]
    model = keras.Model(inputs, keras.layers.Add()([layer(inputs) for layer in layers]))
    method = tfag.SampledGradient(k=2, seed=5)
    schedule = tfag.EveryNthStep(method, n=2, start=1)
    model = tfag.approximate_gradients(model, schedule)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    problem = Problem(n=4, size=(7, 6), ci=2, co=3)
    for step in range(4):
        before = [np.array(kernel) for kernel in model.get_weights()]
        dy = (2 / y.size) * (model.predict(x, verbose=0) - y)
        callbacks = [tfag.ApproximationCallback()]
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
        for index, old in enumerate(before):
            actual = old - model.get_weights()[index]
            expected = problem.dense_gradient(x, dy)
            if step % 2:
                draw = {"k": 2, "seed": 5, "step": step, "layer": index + 1}
                expected = problem.sampled_gradient(x, dy, **draw)
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)


PRINT_DIGESTS = """
import hashlib, sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
from gradients import filter_gradient
from reference import Problem
from test_sampled_gradient import weights_of
import tf_approxgrad as tfag

def show(array):
    print(hashlib.sha256(array.tobytes()).hexdigest())

rng = np.random.default_rng(0)
for data_format in ("NHWC", "NCHW"):
    for dtype in ("float32", "float64", "half"):
        problem = Problem(
            n=13, size=(31, 29), ci=19, co=37, dtype=dtype, data_format=data_format
        )
        x, dy = problem.arrays()
        for k in (1, 5, 70):
            method = tfag.SampledGradient(k, seed=1)
            if len(sys.argv) < 3:
                show(filter_gradient(problem, x, dy, method, 2))
            else:
                rough = np.exp(3 * rng.standard_normal((331, 37)))
                show(weights_of(rough, method, 2, dtype, data_format))
"""


def digests(arguments: list[list[str]], **variables: list[str]) -> list[list[str]]:
    """What runs with other arguments or variables of the environment print."""
    changes = [
        dict(zip(variables, values, strict=True))
        for values in zip(*variables.values(), strict=True)
    ] or [{}] * len(arguments)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_DIGESTS, *own],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                **change,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for own, change in zip(arguments, changes, strict=True)
    ]
    printed = [run.communicate()[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs)
    return printed


def test_number_of_threads_does_not_change_a_bit() -> None:
    one, two = digests([["1"], ["2"]])
    # Both layouts may give the same.
    assert len(set(one)) >= 9
    assert one == two


def test_instruction_set_does_not_change_a_bit_of_the_draws() -> None:
    """A weight that meets a one of X, and zeros otherwise, isn't rounded again."""
    sets = ["baseline", "avx2", "avx512"]
    with open("/proc/cpuinfo") as file:
        flags = file.read().split()
    sets = sets[: 1 + ("avx2" in flags) + ("avx512dq" in flags)]
    first, *others = digests(
        [["1", "weights"]] * len(sets), TF_APPROXGRAD_INSTRUCTION_SET=sets
    )
    assert len(set(first)) == 18
    for other in others:
        assert other == first


def test_reference_draws_in_proportion() -> None:
    dy = np.array([1.0, -3.0, 0.0, 4.0])
    mean = np.mean(
        [draw_in_proportion(dy, 2, u) for u in (np.arange(1000) + 0.5) / 1000], axis=0
    )
    np.testing.assert_allclose(mean, dy, atol=0.01)
