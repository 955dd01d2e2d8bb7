"""`conv2d` and `conv2d_backprop_filter` as functions: arguments, gradients, refusals.

The numbers of `max` and of `random` have files of their own.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gradients import METHODS, filter_gradient
from marks import slowly
from reference import GEOMETRIES, Problem, assert_gradient

import tf_approxgrad as tfag

DTYPES = ["float32", "float64", "bfloat16", "half"]
# Not every CPU has TensorFlow's exact gradient of a dilated convolution that has
# strides or explicit padding too.
EXACT_GEOMETRIES = [
    name
    for name, problem in GEOMETRIES.items()
    if problem.dilations == (1, 1)
    or (problem.strides == (1, 1) and isinstance(problem.padding, str))
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("geometry", EXACT_GEOMETRIES)
def test_full_is_the_reference(geometry: str, dtype: str) -> None:
    problem = dataclasses.replace(GEOMETRIES[geometry], dtype=dtype)
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, tfag.FullGradient())
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    assert_gradient(actual, problem.dense_gradient(x, dy), tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_is_zero_of_the_same_type(dtype: str) -> None:
    problem = Problem(dtype=dtype)
    actual = filter_gradient(problem, *problem.arrays(), tfag.ZeroGradient())
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("method", METHODS)
def test_empty_batch_gives_zeros(method: str) -> None:
    problem = Problem(n=0)
    x, dy = problem.arrays()
    actual = filter_gradient(problem, x, dy, *METHODS[method])
    np.testing.assert_array_equal(actual, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strides", [2, [2], (2, 2), [1, 2, 2, 1]])
def test_strides_and_dilations_are_written_as_in_tensorflow(
    method: str, strides: Any
) -> None:
    problem = Problem(strides=(2, 2))
    x, dy = problem.arrays()
    method, step = METHODS[method]
    options = {"padding": "SAME", "method": method, "step": step}
    expected = filter_gradient(problem, x, dy, method, step)
    sizes = problem.filter_sizes
    actual = tfag.conv2d_backprop_filter(x, sizes, dy, strides, **options)
    np.testing.assert_array_equal(actual, expected)
    filters = np.ones(sizes, np.float32)
    np.testing.assert_array_equal(
        tfag.conv2d(x, filters, strides, **options),
        tf.nn.conv2d(x, filters, strides, "SAME"),
    )
    # The same four ways, now for dilations.
    dense = tfag.conv2d(x, filters, 1, dilations=strides, **options)
    np.testing.assert_array_equal(
        dense, tf.nn.conv2d(x, filters, 1, "SAME", dilations=strides)
    )


def test_filter_sizes_may_be_a_tensor() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    expected = filter_gradient(problem, x, dy, tfag.MaxGradient())
    for sizes in (tf.constant(problem.filter_sizes), np.array(problem.filter_sizes)):
        actual = tfag.conv2d_backprop_filter(
            x, sizes, dy, 1, "SAME", method=tfag.MaxGradient()
        )
        np.testing.assert_array_equal(actual, expected)


EXACT_INPUT_GRADIENT = [
    Problem(),
    Problem(padding="VALID", strides=(2, 3), size=(11, 13), n=1),
    Problem(kernel=(5, 3), padding=((1, 2), (0, 3)), strides=(1, 2)),
    Problem(kernel=(2, 2), dtype="float64"),
    Problem(kernel=(1, 1), dtype="bfloat16"),
    Problem(dtype="half", strides=(2, 2)),
    Problem(data_format="NCHW", strides=(2, 1)),
]


def skip_unless_tensorflow_can(problem: Problem) -> None:
    """Skips NCHW where TensorFlow has no convolution of it, as on some CPUs."""
    x, _ = problem.arrays()
    try:
        tf.nn.conv2d(x, tf.ones(problem.filter_sizes), **problem.function_arguments())
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        pytest.skip("TensorFlow has no NCHW convolution for this CPU")


@pytest.mark.parametrize("problem", EXACT_INPUT_GRADIENT, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_conv2d_differs_from_tensorflow_in_its_filter_gradient_alone(
    method: str, problem: Problem
) -> None:
    if problem.data_format == "NCHW":
        skip_unless_tensorflow_can(problem)
    method, step = METHODS[method]
    x, dy = (tf.constant(array) for array in problem.arrays())
    filters = tf.cast(
        np.random.default_rng(1).normal(size=problem.filter_sizes), x.dtype
    )
    arguments = problem.function_arguments()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, filters])
        exact = tf.nn.conv2d(x, filters, **arguments)
        ours = tfag.conv2d(x, filters, method=method, step=step, **arguments)
    np.testing.assert_array_equal(ours, exact)
    exact_x, exact_filters = tape.gradient(exact, [x, filters], dy)
    actual_x, actual_filters = tape.gradient(ours, [x, filters], dy)
    np.testing.assert_array_equal(actual_x, exact_x)
    expected = filter_gradient(problem, x, dy, method, step)
    np.testing.assert_array_equal(actual_filters, expected)
    if isinstance(method, tfag.FullGradient):
        np.testing.assert_array_equal(actual_filters, exact_filters)
    else:
        assert np.any(actual_filters != exact_filters)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dilated_conv2d_trains_in_every_type(dtype: str, padding: str) -> None:
    problem = Problem(kernel=(2, 3), dilations=(2, 3), padding=padding, dtype=dtype)
    x, dy = problem.arrays()
    filters = tf.ones(problem.filter_sizes, dtype)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch([inputs, filters])
        outputs = tfag.conv2d(
            inputs,
            filters,
            method=tfag.MaxGradient(2, scale=1.0),
            **problem.function_arguments(),
        )
    expected = tf.nn.conv2d(x, filters, **problem.function_arguments())
    small = {"float32": 1e-5, "float64": 1e-13, "bfloat16": 0.1, "half": 0.01}[dtype]
    assert_gradient(outputs, expected.numpy().astype(np.float64), small)
    dx, df = tape.gradient(outputs, [inputs, filters], tf.constant(dy))
    expected = problem.max_gradient(x, dy, 2)
    assert_gradient(df, expected, problem.max_error(x, dy, 2))
    # The filters are ones, so each dY is added to every input below the filter.
    channels = problem.channels(dy).sum(axis=-1)
    rows, cols = problem.output_size
    expected = np.zeros((problem.n, *(size + 9 for size in problem.size)))
    for p in range(rows * cols):
        row, col = p // cols, p % cols
        expected[:, row : row + 3 : 2, col : col + 7 : 3] += channels[:, p, None, None]
    (top, _), (left, _) = problem.pads
    height, width = problem.size
    expected = expected[:, top : top + height, left : left + width, None]
    expected = np.broadcast_to(expected, x.shape)
    assert_gradient(dx, expected, 10 * small)


@pytest.mark.parametrize("method", ["max", *slowly(*sorted({*METHODS} - {"max"}))])
def test_unknown_batch_and_spatial_dimensions_are_allowed(method: str) -> None:
    method, step = METHODS[method]
    filters = tf.Variable(tf.random.normal([3, 3, 3, 5]))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3]),
            tf.TensorSpec([None, None, None, 5]),
        ]
    )
    def gradients(x: tf.Tensor, dy: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tfag.conv2d(x, filters, (2, 1), "SAME", method=method, step=step)
        return [y, *tape.gradient(y, [x, filters], dy)]

    for problem in (
        Problem(strides=(2, 1)),
        Problem(strides=(2, 1), n=1, size=(6, 11)),
        Problem(strides=(2, 1), n=5, size=(2, 1)),
    ):
        x, dy = (tf.constant(array) for array in problem.arrays())
        y, dx, df = gradients(x, dy)
        with tf.GradientTape() as tape:
            tape.watch(x)
            exact = tf.nn.conv2d(x, filters, (2, 1), "SAME")
        np.testing.assert_allclose(y, exact, atol=1e-5)
        np.testing.assert_allclose(dx, tape.gradient(exact, x, dy), atol=1e-5)
        expected = filter_gradient(problem, x, dy, method, step)
        np.testing.assert_allclose(df, expected, atol=1e-4)


def test_static_shapes_are_inferred() -> None:
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 9, None, 3])
        y = tfag.conv2d(x, tf.ones([3, 3, 3, 5]), 2, "SAME", method="max")
        assert y.shape.as_list() == [None, 5, None, 5]
        for method, step in METHODS.values():
            df = tfag.conv2d_backprop_filter(
                x, [3, 3, 3, 5], y, 2, "SAME", method=method, step=step
            )
            assert df.shape == [3, 3, 3, 5]


def test_nothing_of_ours_is_in_the_forward_graph() -> None:
    @tf.function
    def forward(x: tf.Tensor) -> tf.Tensor:
        return tfag.conv2d(x, tf.ones([3, 3, 3, 5]), 1, "SAME", method="max")

    graph = forward.get_concrete_function(tf.TensorSpec([2, 9, 7, 3])).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "Conv2D" in kinds
    assert not any("Approx" in kind for kind in kinds)


@pytest.mark.parametrize("method", ["full", "zero", "random", "max", "sampled"])
def test_method_may_be_given_by_name(method: str) -> None:
    problem = Problem()
    x, dy = problem.arrays()
    by_name = filter_gradient(problem, x, dy, method, 0)
    classes = {
        "full": tfag.FullGradient,
        "zero": tfag.ZeroGradient,
        "random": tfag.RandomGradient,
        "max": tfag.MaxGradient,
        "sampled": tfag.SampledGradient,
    }
    by_class = filter_gradient(problem, x, dy, classes[method](), 0)
    np.testing.assert_array_equal(by_name, by_class)


BAD_ARGUMENTS = {
    "padding": ({"padding": "FULL"}, "padding.*FULL.*SAME.*VALID"),
    "padding of two pairs": ({"padding": [[1, 1], [1, 1]]}, r"padding.*\[1, 1\].*4"),
    "negative padding": (
        {"padding": [[0, 0], [-1, 1], [1, 1], [0, 0]]},
        "padding.*-1.*at least 0",
    ),
    "padded channels": (
        {"padding": [[0, 0], [1, 1], [1, 1], [1, 0]]},
        r"padding.*\[1, 0\].*channel",
    ),
    "layout": ({"data_format": "CHWN"}, "data_format.*CHWN.*NHWC.*NCHW"),
    "no strides": ({"strides": []}, r"strides.*\[\].*1, 2 or 4"),
    "three strides": ({"strides": [1, 2, 1]}, r"strides.*\[1, 2, 1\].*1, 2 or 4"),
    "stride of zero": ({"strides": 0}, "strides.*0.*at least 1"),
    "negative stride": ({"strides": [1, -2]}, "strides.*-2.*at least 1"),
    "fractional stride": ({"strides": 1.5}, "strides.*1.5.*integer"),
    "strided batch": ({"strides": [2, 1, 1, 1]}, r"strides.*\[2, 1, 1, 1\].*batch"),
    "dilation of zero": ({"dilations": [0, 1]}, "dilations.*0.*at least 1"),
    "dilated channels": (
        {"dilations": [1, 1, 1, 2]},
        r"dilations.*\[1, 1, 1, 2\].*channel",
    ),
    "method": ({"method": "maximum"}, "method.*'max'.*maximum"),
    "rank": ({"input": (9, 7, 3)}, "input.*9, 7, 3.*4"),
    "input channels": ({"input": (2, 9, 7, 4)}, "input.*4.*3"),
    "half the input channels": ({"input": (2, 9, 7, 6)}, "input.*6.*3.*groups"),
    "filter rank": ({"filters": (3, 3, 3)}, "filter.*3, 3, 3.*4"),
}


@pytest.mark.parametrize("known", ["eager", "graph"])
@pytest.mark.parametrize("function", ["conv2d", "conv2d_backprop_filter"])
@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_by_name(
    case: str, function: str, known: str
) -> None:
    change, message = BAD_ARGUMENTS[case]
    arguments = {
        "input": (2, 9, 7, 3),
        "filters": (3, 3, 3, 5),
        "strides": 1,
        "padding": "SAME",
        "method": tfag.MaxGradient(),
        **change,
    }

    def call() -> None:
        arguments["input"] = tf.ones(arguments["input"])
        filters = arguments.pop("filters")
        if function == "conv2d":
            tfag.conv2d(filters=tf.ones(filters), **arguments)
        else:
            dy = tf.ones([2, 9, 7, 5])
            tfag.conv2d_backprop_filter(
                filter_sizes=filters, out_backprop=dy, **arguments
            )

    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        (tf.function(call) if known == "graph" else call)()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("shape", "message"),
    [((9, 7, 5), "out_backprop.*9, 7, 5.*4"), ((2, 9, 7, 6), "out_backprop.*6.*5")],
)
def test_output_gradient_that_does_not_fit_is_refused(
    shape: tuple[int, ...], message: str, method: str
) -> None:
    method, step = METHODS[method]
    with pytest.raises(ValueError, match=message):
        tfag.conv2d_backprop_filter(
            tf.ones([2, 9, 7, 3]),
            [3, 3, 3, 5],
            tf.ones(shape),
            1,
            "SAME",
            method=method,
            step=step,
        )


@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_other_types_are_refused(dtype: str) -> None:
    x = tf.ones([2, 9, 7, 3], dtype)
    with pytest.raises(TypeError, match=f"input.*{dtype}.*float32"):
        tfag.conv2d(x, tf.ones([3, 3, 3, 5], dtype), 1, "SAME", method="max")


def test_different_types_are_refused() -> None:
    with pytest.raises(ValueError, match=r"out_backprop.*float64.*float32"):
        tfag.conv2d_backprop_filter(
            tf.ones([2, 9, 7, 3]),
            [3, 3, 3, 5],
            tf.ones([2, 9, 7, 5], tf.float64),
            1,
            "SAME",
            method="max",
        )
