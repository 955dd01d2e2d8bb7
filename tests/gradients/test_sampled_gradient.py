"""The method `sampled` against the reference."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import NON_FINITE, filter_gradient
from marks import slowly
from programs import with_instruction_sets, with_threads
from reference import (
    GEOMETRIES,
    SOME_GEOMETRIES,
    Problem,
    assert_gradient,
    to_nhwc,
)

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library

DTYPES = ["float32", "float64", "bfloat16", "half"]
FORMATS = ["NHWC", "NCHW"]
COUNTS = [1, 2, 3, 7, 16, 17, 40]


def check_sampled(problem: Problem, k: int, step: int = 5) -> None:
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.SampledGradient(k, seed=9), step)
    draw = {"k": k, "seed": 9, "step": step}
    expected = problem.sampled_gradient(x, dy, **draw)
    assert_gradient(actual, expected, problem.sampled_error(x, dy, **draw))


@pytest.mark.parametrize("k", COUNTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sampled_is_the_reference(geometry: str, k: int) -> None:
    check_sampled(GEOMETRIES[geometry], k)


@pytest.mark.parametrize("k", [1, 3, 16])
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_sampled_is_the_reference_in_nchw(geometry: str, k: int) -> None:
    check_sampled(dataclasses.replace(GEOMETRIES[geometry], data_format="NCHW"), k)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "half"])
@pytest.mark.parametrize("k", [1, 17])
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
def test_sampled_is_the_reference_in_other_types(
    geometry: str, k: int, dtype: str, data_format: str
) -> None:
    problem = GEOMETRIES[geometry]
    check_sampled(dataclasses.replace(problem, dtype=dtype, data_format=data_format), k)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("k", "dtype"),
    [
        *((16, dtype) for dtype in DTYPES),
        *(pytest.param(1, dtype, marks=pytest.mark.slow) for dtype in DTYPES),
        (300, "float64"),
    ],
)
def test_larger_maps_are_the_reference(k: int, dtype: str, data_format: str) -> None:
    """In float32, a few of thousands of draws may differ from those in float64."""
    problem = Problem(
        size=(57, 61), n=2, ci=2, co=3, dtype=dtype, data_format=data_format
    )
    check_sampled(problem, k)


@pytest.mark.parametrize("excess", [0, 2**40])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("geometry", SOME_GEOMETRIES)
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
@pytest.mark.parametrize(
    "geometry", ["explicit beyond reach", "5x3 all", *slowly("3x3")]
)
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
        actual = op_library.approx_sampled_conv2d_backprop_filter(
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
import numpy as np
from gradients import filter_gradient, weights_of
from reference import Problem
import tf_approxgrad as tfag
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


@pytest.mark.slow
def test_number_of_threads_does_not_change_a_bit() -> None:
    one, two = with_threads(PRINT_DIGESTS, 1, 2)
    # Both layouts may give the same.
    assert len(set(one)) >= 9
    assert one == two


@pytest.mark.slow
def test_instruction_set_does_not_change_a_bit_of_the_draws() -> None:
    """A weight that meets a one of X, and zeros otherwise, isn't rounded again."""
    baseline, avx2, avx512 = with_instruction_sets(PRINT_DIGESTS, "1", "weights")
    assert len(set(baseline)) == 18
    assert baseline == avx2 == avx512
