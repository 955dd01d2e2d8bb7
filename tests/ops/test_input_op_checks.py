"""The ops of the input gradient: what they refuse, and their shape functions."""

import numpy as np
import pytest
import tensorflow as tf
from marks import slowly

from tf_approxgrad.gradients import op_library

REFUSALS = (ValueError, TypeError, tf.errors.InvalidArgumentError)

# Input [2,6,5,3], filter [3,3,3,4] and out_backprop [2,6,5,4] fit each other.
FITTING = {"input": (2, 6, 5, 3), "filter": (3, 3, 3, 4), "dy": (2, 6, 5, 4)}

BAD_SHAPES = {
    "filter of rank 3": ({"filter": (3, 3, 4)}, "filter.*3,3,4.*4 axes"),
    "out_backprop of rank 3": ({"dy": (6, 5, 4)}, "out_backprop.*6,5,4.*4 axes"),
    "another batch": ({"dy": (7, 6, 5, 4)}, "out_backprop is 7.*batch size of input"),
    "input channels": (
        {"filter": (3, 3, 8, 4)},
        r"filter\[2\] is 8.*channels of input.* 3",
    ),
    "output channels": (
        {"filter": (3, 3, 3, 9)},
        r"filter\[3\] is 9.*channels of out_backprop.* 4",
    ),
    "rows": ({"dy": (2, 7, 5, 4)}, "rows of out_backprop is 7.* 6"),
    "no filter rows": ({"filter": (0, 3, 3, 4)}, "filter has 0 rows.* 1"),
}
OPS = ["max", "sampled", "rows"]


def call(name: str, x: object, filters: object, dy: object, **others: object):
    arguments = {"strides": [1, 1, 1, 1], "padding": "SAME"} | others
    if name != "max":
        arguments = {"step": tf.constant(0, tf.int64)} | arguments
    if name == "rows":
        arguments = {"draws": tf.constant(4, tf.int64)} | arguments
        return op_library.approx_row_sampled_conv2d_backprop_input(
            input=x, filter=filters, out_backprop=dy, **arguments
        )
    op = {
        "max": op_library.approx_conv2d_backprop_input,
        "sampled": op_library.approx_sampled_conv2d_backprop_input,
    }[name]
    return op(input_sizes=tf.shape(x), filter=filters, out_backprop=dy, **arguments)


@pytest.mark.parametrize("name", ["max", *slowly("sampled", "rows")])
@pytest.mark.parametrize("case", BAD_SHAPES)
def test_shapes_that_do_not_fit_are_refused_in_every_way(case: str, name: str) -> None:
    change, message = BAD_SHAPES[case]
    tensors = [tf.ones(shape) for shape in (FITTING | change).values()]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(name, *tensors)
    with pytest.raises(ValueError, match=message):
        tf.function(lambda: call(name, *tensors)).get_concrete_function()
    unknown = tf.function(
        lambda *tensors: call(name, *tensors),
        input_signature=[tf.TensorSpec(None, tf.float32)] * 3,
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        unknown(*tensors)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("max", {"k": 0}, "k.*0"),
        ("max", {"k_share": 1.0}, "k_share is 1.*less than 1"),
        ("max", {"scale": np.inf}, "scale is inf.*finite"),
        ("max", {"strides": [1, 0, 1, 1]}, "strides.*at least 1"),
        ("sampled", {"step": tf.constant([1], tf.int64)}, "step.*scalar|step.*0 axes"),
        ("sampled", {"layer": -1}, "layer"),
        ("rows", {"draws": tf.constant(0, tf.int64)}, "draws is 0.*from 1 to 60"),
        ("rows", {"draws": tf.constant(61, tf.int64)}, "draws is 61.*from 1 to 60"),
        ("rows", {"step": tf.constant([1], tf.int64)}, "step and draws.*scalars"),
        ("rows", {"probability": "size"}, "probability.*size"),
    ],
)
def test_bad_arguments_are_refused_in_words(
    name: str, arguments: dict, message: str
) -> None:
    tensors = [tf.ones(shape) for shape in FITTING.values()]
    with pytest.raises(REFUSALS, match=f"(?s){message}"):
        call(name, *tensors, **arguments)


@pytest.mark.parametrize("sizes", [(2, 6, 5), (2, -1, 5, 3), (-2, 6, 5, 3)])
def test_bad_input_sizes_are_refused(sizes: tuple) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"input_sizes|rows|batch"):
        op_library.approx_conv2d_backprop_input(
            input_sizes=sizes,
            filter=tf.ones(FITTING["filter"]),
            out_backprop=tf.ones(FITTING["dy"]),
            strides=[1, 1, 1, 1],
            padding="SAME",
        )


@pytest.mark.parametrize("name", OPS)
def test_static_shape_is_what_is_known(name: str) -> None:
    tensors = [tf.ones(shape) for shape in FITTING.values()]
    known = tf.function(lambda: call(name, *tensors)).get_concrete_function()
    assert known.output_shapes == FITTING["input"]
    specs = [(None, None, 5, None), (3, 3, 3, None), (2, None, None, 4)]
    unknown = tf.function(lambda *tensors: call(name, *tensors)).get_concrete_function(
        *[tf.TensorSpec(spec, tf.float32) for spec in specs]
    )
    assert unknown.output_shapes.as_list() == [2, None, 5, 3]
