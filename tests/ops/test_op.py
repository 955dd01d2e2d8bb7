"""The op itself: its shape function, what it refuses, and problems with nothing in."""

import numpy as np
import pytest
import tensorflow as tf
from reference import Problem, assert_gradient

from tf_approxgrad.gradients.op_library import approx_conv2d_backprop_filter

# Input [2,6,5,3], filter [3,3,3,4] and out_backprop [2,6,5,4] fit each other.
DEFAULTS = {"strides": [1, 1, 1, 1], "padding": "SAME"}
FITTING = {
    "input": (2, 6, 5, 3),
    "filter_sizes": (3, 3, 3, 4),
    "out_backprop": (2, 6, 5, 4),
}
REFUSALS = (ValueError, TypeError, tf.errors.InvalidArgumentError)

BAD_SHAPES = {
    "input without a batch": ({"input": (6, 5, 3)}, "input.*6,5,3.*4"),
    "input of rank 5": ({"input": (1, 2, 6, 5, 3)}, "input.*1,2,6,5,3.*4"),
    "out_backprop of rank 3": ({"out_backprop": (6, 5, 4)}, "out_backprop.*6,5,4.*4"),
    "three filter sizes": ({"filter_sizes": (3, 3, 3)}, "filter_sizes.*3.*4"),
    "five filter sizes": ({"filter_sizes": (3, 3, 3, 4, 1)}, "filter_sizes.*5.*4"),
    "another batch": ({"out_backprop": (7, 6, 5, 4)}, "out_backprop.*7.*input.*2"),
    "batch of one": ({"out_backprop": (1, 6, 5, 4)}, "out_backprop.*1.*input.*2"),
    "no batch": ({"out_backprop": (0, 6, 5, 4)}, "out_backprop.*0.*input.*2"),
    "input channels": ({"filter_sizes": (3, 3, 8, 4)}, "filter_sizes.*8.*input.*3"),
    "one input channel": ({"filter_sizes": (3, 3, 1, 4)}, "filter_sizes.*1.*input.*3"),
    "output channels": (
        {"filter_sizes": (3, 3, 3, 9)},
        "filter_sizes.*9.*out_backprop.*4",
    ),
    "no output channels": (
        {"out_backprop": (2, 6, 5, 0)},
        "filter_sizes.*4.*out_backprop.*0",
    ),
    "rows": ({"out_backprop": (2, 7, 5, 4)}, "out_backprop.*7.*6"),
    "columns": ({"out_backprop": (2, 6, 1, 4)}, "out_backprop.*1.*5"),
    "no filter rows": ({"filter_sizes": (0, 3, 3, 4)}, "filter_sizes.*0.*1"),
    "no filter columns": ({"filter_sizes": (3, 0, 3, 4)}, "filter_sizes.*0.*1"),
}

BAD_ATTRIBUTES = {
    "k of zero": ({"k": 0}, "k.*0.*minimum 1"),
    "negative k": ({"k": -3}, "k.*-3.*minimum 1"),
    "unknown padding": ({"padding": "FULL"}, "padding.*FULL.*SAME"),
    "unknown layout": ({"data_format": "NWHC"}, "data_format.*NWHC.*NCHW"),
    "three strides": ({"strides": [1, 1, 1]}, "strides.*1, 1, 1.*4"),
    "stride of zero": ({"strides": [1, 0, 1, 1]}, "strides.*1, 0, 1, 1.*1"),
    "negative stride": ({"strides": [1, 1, -2, 1]}, "strides.*1, 1, -2, 1.*1"),
    "strided batch": ({"strides": [2, 1, 1, 1]}, "strides.*2, 1, 1, 1.*1"),
    "strided channels": ({"strides": [1, 1, 1, 2]}, "strides.*1, 1, 1, 2.*1"),
    "two dilations": ({"dilations": [1, 1]}, "dilations.*1, 1.*4"),
    "dilation of zero": ({"dilations": [1, 1, 0, 1]}, "dilations.*1, 1, 0, 1.*1"),
    "dilated batch": ({"dilations": [3, 1, 1, 1]}, "dilations.*3, 1, 1, 1.*1"),
    "EXPLICIT without pads": ({"padding": "EXPLICIT"}, "explicit_paddings.*8"),
    "pads without EXPLICIT": (
        {"explicit_paddings": [0, 0, 1, 1, 1, 1, 0, 0]},
        "explicit_paddings.*1, 1, 1, 1.*EXPLICIT",
    ),
    "six pads": (
        {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1, 1, 1]},
        "explicit_paddings.*0, 0, 1, 1, 1, 1.*8",
    ),
    "negative pad": (
        {"padding": "EXPLICIT", "explicit_paddings": [0, 0, -1, 1, 1, 1, 0, 0]},
        "explicit_paddings.*-1.*at least 0",
    ),
    "padded batch": (
        {"padding": "EXPLICIT", "explicit_paddings": [2, 0, 1, 1, 1, 1, 0, 0]},
        "explicit_paddings.*2.*0",
    ),
    "padded channels": (
        {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1, 1, 1, 0, 2]},
        "explicit_paddings.*2.*0",
    ),
    "filter beyond the input": (
        {"padding": "VALID", "dilations": [1, 3, 1, 1]},
        "filter.*7.*input.*6",
    ),
}


@tf.function(
    input_signature=[
        tf.TensorSpec(None, tf.float32),
        tf.TensorSpec(None, tf.int32),
        tf.TensorSpec(None, tf.float32),
    ]
)
def run_without_static_shapes(
    inputs: tf.Tensor, filter_sizes: tf.Tensor, out_backprop: tf.Tensor
) -> tf.Tensor:
    return approx_conv2d_backprop_filter(
        input=inputs, filter_sizes=filter_sizes, out_backprop=out_backprop, **DEFAULTS
    )


def infer_shape(
    inputs: object, filter_sizes: object, out_backprop: object, **attributes: object
) -> tf.TensorShape:
    """The static shape of the output, with placeholders of the given shapes."""
    with tf.Graph().as_default():
        return approx_conv2d_backprop_filter(
            input=tf.compat.v1.placeholder(tf.float32, inputs),
            filter_sizes=(
                tf.compat.v1.placeholder(tf.int32, [4])
                if filter_sizes is None
                else filter_sizes
            ),
            out_backprop=tf.compat.v1.placeholder(tf.float32, out_backprop),
            **{**DEFAULTS, **attributes},
        ).shape


def run(
    shapes: dict[str, tuple[int, ...]], dtype: str = "float32", **attributes: object
) -> np.ndarray:
    return approx_conv2d_backprop_filter(
        input=tf.ones(shapes["input"], dtype),
        filter_sizes=shapes["filter_sizes"],
        out_backprop=tf.ones(shapes["out_backprop"], dtype),
        **{**DEFAULTS, **attributes},
    ).numpy()


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_graph_construction_refuses_shapes_that_do_not_fit(case: str) -> None:
    change, message = BAD_SHAPES[case]
    shapes = {**FITTING, **change}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        infer_shape(shapes["input"], shapes["filter_sizes"], shapes["out_backprop"])


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_eager_call_refuses_shapes_that_do_not_fit(case: str) -> None:
    change, message = BAD_SHAPES[case]
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}"):
        run({**FITTING, **change})


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_run_time_refuses_shapes_that_the_graph_did_not_know(case: str) -> None:
    change, message = BAD_SHAPES[case]
    shapes = {**FITTING, **change}
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}"):
        run_without_static_shapes(
            tf.ones(shapes["input"]),
            tf.constant(shapes["filter_sizes"]),
            tf.ones(shapes["out_backprop"]),
        )


@pytest.mark.parametrize("case", BAD_ATTRIBUTES)
def test_graph_construction_refuses_bad_attributes(case: str) -> None:
    attributes, message = BAD_ATTRIBUTES[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        infer_shape(*FITTING.values(), **attributes)


@pytest.mark.parametrize("case", BAD_ATTRIBUTES)
def test_eager_call_refuses_bad_attributes(case: str) -> None:
    attributes, message = BAD_ATTRIBUTES[case]
    with pytest.raises(REFUSALS, match=f"(?s){message}"):
        run(FITTING, **attributes)


def test_negative_filter_size_is_refused_at_run_time() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"filter_sizes.*-2"):
        run({**FITTING, "filter_sizes": (-2, 3, 3, 4)})


def test_other_types_are_refused() -> None:
    with pytest.raises(REFUSALS, match=r"int32.*float"):
        run(FITTING, dtype="int32")


def test_different_types_are_refused() -> None:
    with pytest.raises(REFUSALS, match=r"float.*double"):
        approx_conv2d_backprop_filter(
            input=tf.ones(FITTING["input"]),
            filter_sizes=FITTING["filter_sizes"],
            out_backprop=tf.ones(FITTING["out_backprop"], tf.float64),
            **DEFAULTS,
        )


def test_shape_is_filter_sizes_when_they_are_constant() -> None:
    assert infer_shape(*FITTING.values()) == [3, 3, 3, 4]
    assert infer_shape(None, [5, 2, 3, 4], None, k=7).as_list() == [5, 2, 3, 4]


def test_shape_keeps_what_is_unknown() -> None:
    channels = infer_shape([None, None, None, 3], None, [2, None, None, 4])
    assert channels.as_list() == [None, None, 3, 4]
    nothing = infer_shape(None, None, None)
    assert nothing.as_list() == [None, None, None, None]
    nchw = infer_shape([2, 3, 6, 5], None, [2, 4, 6, None], data_format="NCHW")
    assert nchw.as_list() == [None, None, 3, 4]


def test_shape_function_follows_the_layout() -> None:
    shapes = {**FITTING, "input": (2, 3, 6, 5), "out_backprop": (2, 4, 6, 5)}
    assert run(shapes, data_format="NCHW").shape == (3, 3, 3, 4)
    with pytest.raises(ValueError, match=r"filter_sizes.*3.*input.*5"):
        infer_shape(shapes["input"], shapes["filter_sizes"], shapes["out_backprop"])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    ("padding", "strides", "dilations"),
    [
        ("SAME", (2, 3), (1, 2)),
        ("VALID", (3, 2), (2, 1)),
        (((4, 0), (1, 2)), (1, 3), (3, 2)),
    ],
)
def test_shape_function_knows_the_output_size(
    padding: object, strides: tuple, dilations: tuple, data_format: str
) -> None:
    problem = Problem(
        padding=padding,
        strides=strides,
        dilations=dilations,
        size=(11, 14),
        data_format=data_format,
    )
    x, dy = problem.arrays()
    attributes = problem.op_arguments()
    inferred = infer_shape(x.shape, problem.filter_sizes, dy.shape, **attributes)
    assert inferred == problem.filter_sizes
    for axis in [axis for axis, size in enumerate(problem.by_format("hw", "")) if size]:
        wrong = list(dy.shape)
        wrong[axis] += 1
        with pytest.raises(ValueError, match=rf"out_backprop.*{wrong[axis]}.*"):
            infer_shape(x.shape, problem.filter_sizes, wrong, **attributes)


def test_unknown_static_shapes_give_the_same_result() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    result = run_without_static_shapes(x, tf.constant(problem.filter_sizes), dy)
    assert_gradient(result, problem.max_gradient(x, dy), problem.max_error(x, dy))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "half"])
@pytest.mark.parametrize("k", [1, 5])
def test_empty_batch_gives_zeros(k: int, dtype: str, data_format: str) -> None:
    problem = Problem(n=0, dtype=dtype, data_format=data_format)
    x, dy = problem.arrays()
    for mean in (False, True):
        result = approx_conv2d_backprop_filter(
            input=x,
            filter_sizes=problem.filter_sizes,
            out_backprop=dy,
            k=k,
            mean_over_batch=mean,
            **problem.op_arguments(),
        )
        assert result.dtype == tf.as_dtype(dtype)
        np.testing.assert_array_equal(result, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("ci", "co"), [(0, 4), (3, 0), (0, 0)])
def test_no_channels_give_an_empty_gradient(ci: int, co: int, data_format: str) -> None:
    problem = Problem(ci=ci, co=co, data_format=data_format)
    x, dy = problem.arrays()
    result = approx_conv2d_backprop_filter(
        input=x,
        filter_sizes=problem.filter_sizes,
        out_backprop=dy,
        k=2,
        **problem.op_arguments(),
    )
    assert result.shape == [3, 3, ci, co]


def test_input_without_rows_gives_zeros() -> None:
    shapes = {**FITTING, "input": (2, 0, 5, 3), "out_backprop": (2, 0, 5, 4)}
    np.testing.assert_array_equal(run(shapes), np.zeros(FITTING["filter_sizes"]))


def test_filter_with_too_many_elements_is_refused() -> None:
    sizes = (2**31 - 1, 2**31 - 1, 3, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="elements"):
        run({**FITTING, "filter_sizes": sizes})


@pytest.mark.parametrize(("k", "expected"), [(1, [4, 12, 20]), (6, [-3, -13, -23])])
def test_offsets_beyond_32_bits_are_right(k: int, expected: list[int]) -> None:
    """Of three rows of positions, 2^30 apart, only the middle one meets the input."""
    x = np.arange(1, 13, dtype=np.float32).reshape(1, 6, 2, 1)
    dy = np.array([[1, 3], [-7, 2], [4, 1]], np.float32).reshape(1, 3, 2, 1)
    result = approx_conv2d_backprop_filter(
        input=x,
        filter_sizes=[3, 1, 1, 1],
        out_backprop=dy,
        strides=[1, 2**30, 1, 1],
        padding="EXPLICIT",
        explicit_paddings=[0, 0, 2**30, 2**30, 0, 0, 0, 0],
        k=k,
    )
    assert result.numpy().ravel().tolist() == expected


def test_dilation_beyond_the_input_leaves_the_middle_tap() -> None:
    x = np.ones((1, 6, 5, 1), np.float32)
    result = approx_conv2d_backprop_filter(
        input=x,
        filter_sizes=[3, 3, 1, 1],
        out_backprop=x,
        dilations=[1, 2**31 - 1, 2**31 - 1, 1],
        **DEFAULTS,
    )
    assert result.numpy().ravel().tolist() == [0, 0, 0, 0, 30, 0, 0, 0, 0]


def test_defaults_are_one_position_and_no_scale() -> None:
    problem = Problem()
    x, dy = problem.arrays()
    arguments = {
        "input": x,
        "filter_sizes": problem.filter_sizes,
        "out_backprop": dy,
        **DEFAULTS,
    }
    explicit = approx_conv2d_backprop_filter(
        **arguments,
        k=1,
        scale=1.0,
        mean_over_batch=False,
        data_format="NHWC",
        dilations=[1, 1, 1, 1],
        explicit_paddings=[],
    )
    default = approx_conv2d_backprop_filter(**arguments)
    np.testing.assert_array_equal(default, explicit)
    assert_gradient(default, problem.max_gradient(x, dy), problem.max_error(x, dy))


@pytest.mark.parametrize("mean_over_batch", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.3, -2.0, 0.0])
def test_scale_multiplies_the_mean_or_the_sum(
    scale: float, mean_over_batch: bool
) -> None:
    problem = Problem(n=3)
    x, dy = problem.arrays()
    result = approx_conv2d_backprop_filter(
        input=x,
        filter_sizes=problem.filter_sizes,
        out_backprop=dy,
        k=2,
        scale=scale,
        mean_over_batch=mean_over_batch,
        **DEFAULTS,
    )
    factor = scale / problem.n if mean_over_batch else scale
    expected = problem.max_gradient(x, dy, 2, factor)
    assert_gradient(result, expected, problem.max_error(x, dy, 2, factor))
