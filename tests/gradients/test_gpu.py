"""The op on a GPU: what the library offers, and that it agrees with the truth.

The kernels themselves are tested without TensorFlow, in cc/tests.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from reference import GEOMETRIES, Problem, assert_gradient
from tensorflow.python.framework import kernels

import tf_approxgrad as tfag
from tf_approxgrad.gradients import op_library

DTYPES = ["float32", "float64", "bfloat16", "half"]
FORMATS = ["NHWC", "NCHW"]
METHODS = ["zero", "random", "max", "sampled", "row-sampled"]
# What each op takes in the host's memory.
ON_HOST = {
    "ApproxAwaitBackprop": set(),
    "ApproxConv2DBackpropFilter": {"filter_sizes"},
    "ApproxRandomFilterGradient": {"filter_sizes", "step"},
    "ApproxSampleRows": {"draws", "filter_sizes", "step"},
    "ApproxSampledConv2DBackpropFilter": {"filter_sizes", "step"},
}


@pytest.fixture
def no_tensor_float_32() -> Iterator[None]:
    """Products in float32, where TensorFlow's own are in TF32."""
    was = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(was)


@pytest.mark.parametrize("op", ON_HOST)
def test_library_with_cuda_loads_without_a_gpu_and_lists_its_kernels(op: str) -> None:
    if not op_library.RECORD["cuda_archs"]:
        pytest.skip("the op was built for the CPU alone: no nvcc, or a wish")
    registered = kernels.get_registered_kernels_for_op(op).kernel
    on_gpu = [kernel for kernel in registered if kernel.device_type == "GPU"]
    on_cpu = [kernel for kernel in registered if kernel.device_type == "CPU"]

    def types(found: list) -> list[int]:
        return sorted(
            kind
            for kernel in found
            for constraint in kernel.constraint
            for kind in constraint.allowed_values.list.type
        )

    assert on_gpu
    assert types(on_gpu) == types(on_cpu)
    assert len(on_gpu) == len(on_cpu)
    for kernel in on_gpu:
        assert set(kernel.host_memory_arg) == ON_HOST[op]


def on_gpu(problem: Problem, x: np.ndarray, dy: np.ndarray, k: int) -> tf.Tensor:
    with tf.device("GPU:0"):
        result = op_library.approx_conv2d_backprop_filter(
            input=x,
            filter_sizes=problem.filter_sizes,
            out_backprop=dy,
            k=k,
            **problem.op_arguments(),
        )
    assert "GPU" in result.device
    return result


def check_max(problem: Problem, k: int) -> None:
    x, dy = problem.arrays()
    result = on_gpu(problem, x, dy, k)
    assert_gradient(result, problem.max_gradient(x, dy, k), problem.max_error(x, dy, k))
    np.testing.assert_array_equal(on_gpu(problem, x, dy, k), result)


@pytest.mark.gpu
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("k", [1, 3, 16, 40])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_max_is_the_reference(geometry: str, k: int, data_format: str) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], data_format=data_format)
    check_max(problem, k)


@pytest.mark.gpu
@pytest.mark.parametrize("values", ["integers", "ties"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 4, 35])
def test_max_is_the_reference_in_every_type_and_with_ties(
    k: int, dtype: str, values: str
) -> None:
    for channels in (7, 32):
        check_max(
            Problem(n=5, ci=channels, co=channels + 1, dtype=dtype, values=values), k
        )


@pytest.mark.gpu
@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_max_is_the_reference_on_the_maps_of_the_paper(size: int) -> None:
    check_max(Problem(n=8, size=(size, size), ci=32, co=64), 1)


@pytest.mark.gpu
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 16, 40])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sampled_is_the_reference(
    geometry: str, k: int, dtype: str, data_format: str
) -> None:
    problem = GEOMETRIES[geometry]
    problem = dataclasses.replace(problem, dtype=dtype, data_format=data_format)
    x, dy = problem.arrays()
    with tf.device("GPU:0"):
        result = op_library.approx_sampled_conv2d_backprop_filter(
            input=x,
            filter_sizes=problem.filter_sizes,
            out_backprop=dy,
            step=tf.constant(2**40 + 5, tf.int64),
            k=k,
            seed=-3,
            layer=7,
            **problem.op_arguments(),
        )
    assert "GPU" in result.device
    draw = {"k": k, "seed": -3, "step": 2**40 + 5, "layer": 7}
    expected = problem.sampled_gradient(x, dy, **draw)
    assert_gradient(result, expected, problem.sampled_error(x, dy, **draw))


@pytest.mark.gpu
@pytest.mark.parametrize("keep_largest", [False, True])
@pytest.mark.parametrize("probability", ["norm", "product"])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_drawn_rows_are_those_of_the_cpu(
    geometry: str, dtype: str, data_format: str, probability: str, keep_largest: bool
) -> None:
    problem = GEOMETRIES[geometry]
    problem = dataclasses.replace(problem, dtype=dtype, data_format=data_format)
    x, dy = problem.arrays()
    drawn = []
    for device in ("CPU:0", "GPU:0"):
        with tf.device(device):
            patches, rows = op_library.approx_sample_rows(
                input=x,
                filter_sizes=problem.filter_sizes,
                out_backprop=dy,
                step=tf.constant(2**40 + 5, tf.int64),
                draws=tf.constant(max(1, problem.n * problem.positions // 5), tf.int64),
                accumulator=tf.float64 if dtype == "float64" else tf.float32,
                seed=-3,
                layer=7,
                probability=probability,
                keep_largest=keep_largest,
                **problem.op_arguments(),
            )
        assert device.split(":")[0] in patches.device
        drawn.append((patches.numpy(), rows.numpy()))
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    np.testing.assert_array_equal(drawn[0][1], drawn[1][1])


@pytest.mark.gpu
def test_all_positions_kept_are_the_dense_gradient() -> None:
    problem = Problem(dtype="float64")
    x, dy = problem.arrays()
    result = on_gpu(problem, x, dy, problem.positions)
    assert_gradient(result, problem.dense_gradient(x, dy), 1e-11)


@pytest.mark.gpu
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_non_finite_output_gradient_shows_in_its_channel_alone(
    k: int, value: float, data_format: str
) -> None:
    problem = Problem(data_format=data_format)
    x, dy = problem.arrays()
    (dy if data_format == "NHWC" else dy.transpose(0, 2, 3, 1))[1, 2, 3, 2] = value
    finite = np.isfinite(on_gpu(problem, x, dy, k).numpy())
    assert not finite[..., 2].any()
    assert np.delete(finite, 2, axis=-1).all()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 255, 3 * 3 * 64 * 64])
def test_random_numbers_are_those_of_the_cpu(size: int, dtype: str) -> None:
    drawn = []
    for device in ("CPU:0", "GPU:0"):
        with tf.device(device):
            result = op_library.approx_random_filter_gradient(
                filter_sizes=[1, 1, 1, size],
                out_backprop=tf.zeros([4, 1, 1, size], dtype),
                step=tf.constant(2**40 + 5, tf.int64),
                seed=-3,
                layer=7,
                stddev=0.37,
                mean_over_batch=True,
            )
        assert device.split(":")[0] in result.device
        drawn.append(result.numpy())
    np.testing.assert_array_equal(*drawn)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_batch_gives_zeros(dtype: str) -> None:
    problem = Problem(n=0, dtype=dtype)
    result = on_gpu(problem, *problem.arrays(), 1)
    np.testing.assert_array_equal(result, np.zeros(problem.filter_sizes))


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_conv2d_trains_on_the_gpu_inside_a_function(
    method: str, no_tensor_float_32: None
) -> None:
    problem = Problem(n=4, ci=8, co=16)
    x, dy = (tf.constant(array) for array in problem.arrays())

    @tf.function
    def gradient(filters: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(filters)
            y = tfag.conv2d(x, filters, 1, "SAME", method=method, step=3)
        return tape.gradient(y, filters, dy)

    with tf.device("GPU:0"):
        result = gradient(tf.ones(problem.filter_sizes))
    expected = tfag.conv2d_backprop_filter(
        x, problem.filter_sizes, dy, 1, "SAME", method=method, step=3
    )
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
