"""The op of the method `sampled`: what it refuses, and problems with nothing in.

It shares the shape function and most of its OpKernel with the op of `max`, of which
test_op.py tells more.
"""

import numpy as np
import pytest
import tensorflow as tf
from reference import Problem, assert_gradient

from tf_approxgrad.gradients.op_library import approx_sampled_conv2d_backprop_filter

DEFAULTS = {"strides": [1, 1, 1, 1], "padding": "SAME"}
REFUSALS = (ValueError, TypeError, tf.errors.InvalidArgumentError)


def run(problem: Problem, step: object = 0, **attributes: object) -> np.ndarray:
    x, dy = problem.arrays()
    return approx_sampled_conv2d_backprop_filter(
        input=x,
        filter_sizes=problem.filter_sizes,
        out_backprop=dy,
        step=tf.constant(step, tf.int64),
        **{**problem.op_arguments(), **attributes},
    ).numpy()


BAD_ATTRIBUTES = {
    "k of zero": ({"k": 0}, "k"),
    "negative share": ({"k_share": -0.25}, "k_share.*-0.25.*at least 0"),
    "share of one": ({"k_share": 1.0}, "k_share.*1.*less than 1"),
    "share of NaN": ({"k_share": float("nan")}, "k_share.*nan.*less than 1"),
    "infinite scale": ({"scale": float("inf")}, "scale.*inf.*finite"),
    "negative layer": ({"layer": -1}, "layer"),
    "layer beyond 32 bits": ({"layer": 2**32}, "layer.*4294967296.*from 0 to"),
    "stride of zero": ({"strides": [1, 0, 1, 1]}, "strides.*0.*at least 1"),
}


@pytest.mark.parametrize("case", BAD_ATTRIBUTES)
def test_bad_attributes_are_refused(case: str) -> None:
    attributes, message = BAD_ATTRIBUTES[case]
    with pytest.raises(REFUSALS, match=f"(?s){message}"):
        run(Problem(), **attributes)


def test_step_that_is_no_scalar_is_refused_in_every_way() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"step.*\[2\]"):
        run(Problem(), [1, 2])
    shapes = [tf.TensorSpec(None, kind) for kind in (tf.float32, tf.int64)]

    @tf.function(input_signature=shapes)
    def without_shapes(x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return approx_sampled_conv2d_backprop_filter(
            input=x, filter_sizes=[3, 3, 1, 1], out_backprop=x, step=step, **DEFAULTS
        )

    x = tf.ones([1, 4, 4, 1])
    assert without_shapes(x, tf.constant(1, tf.int64)).shape == [3, 3, 1, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"step.*\[1\].*scalar"):
        without_shapes(x, tf.constant([1], tf.int64))
    with (
        tf.Graph().as_default(),
        pytest.raises(ValueError, match=r"step.*\[3\].*0 axes"),
    ):
        approx_sampled_conv2d_backprop_filter(
            input=tf.ones([1, 4, 4, 1]),
            filter_sizes=[3, 3, 1, 1],
            out_backprop=tf.ones([1, 4, 4, 1]),
            step=tf.compat.v1.placeholder(tf.int64, [3]),
            **DEFAULTS,
        )


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"filter_sizes.*4.*3"):
        approx_sampled_conv2d_backprop_filter(
            input=tf.ones([1, 4, 4, 3]),
            filter_sizes=[3, 3, 4, 2],
            out_backprop=tf.ones([1, 4, 4, 2]),
            step=tf.constant(0, tf.int64),
            **DEFAULTS,
        )


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "half"])
def test_empty_batch_gives_zeros(dtype: str, data_format: str) -> None:
    problem = Problem(n=0, dtype=dtype, data_format=data_format)
    for mean in (False, True):
        result = run(problem, k=3, mean_over_batch=mean)
        assert result.dtype == tf.as_dtype(dtype)
        np.testing.assert_array_equal(result, np.zeros(problem.filter_sizes))


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("ci", "co"), [(0, 4), (3, 0), (0, 0)])
def test_no_channels_give_an_empty_gradient(ci: int, co: int, data_format: str) -> None:
    problem = Problem(ci=ci, co=co, data_format=data_format)
    assert run(problem, k=2).shape == (3, 3, ci, co)


def test_defaults_are_one_position_and_no_scale() -> None:
    problem = Problem()
    explicit = run(
        problem, k=1, k_share=0.0, scale=1.0, mean_over_batch=False, seed=0, layer=0
    )
    np.testing.assert_array_equal(run(problem), explicit)
    x, dy = problem.arrays()
    expected, allowed = problem.sampled_gradient(x, dy), problem.sampled_error(x, dy)
    assert_gradient(explicit, expected, allowed)
