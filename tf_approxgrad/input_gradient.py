"""What each method computes in place of the exact input gradient.

As in `tf_approxgrad.filter_gradient`, a method keeps positions of the output gradient
and gives them weights. The exact input gradient of what is left is the approximation.
At the same layer and step the positions are those of the filter gradient.

A new method needs a function registered here to be used for input gradients. If its
class says `supports_jit`, the function must use ops that XLA knows where
`xla.is_compiling()`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from tf_approxgrad import draws, exact, ops, xla
from tf_approxgrad.arguments import ConvArguments
from tf_approxgrad.backprop import (
    Backprop,
    call_op,
    factor_of,
    may_be_on_gpu,
    required_step,
    scaled,
)
from tf_approxgrad.filter_gradient import normal_numbers
from tf_approxgrad.methods import (
    FullGradient,
    GradientMethod,
    MaxGradient,
    MethodLike,
    RandomGradient,
    RowSampledGradient,
    SampledGradient,
    ZeroGradient,
    parse,
)
from tf_approxgrad.row_sampling import row_sampled_input_gradient

# "INPT": the key's high word differs by it from that of the filter gradient's normal
# numbers, so that no two numbers come from the same block.
_STREAM = 0x494E5054


@functools.singledispatch
def input_gradient(method: GradientMethod, backprop: Backprop) -> tf.Tensor:
    """Computes the input gradient of a convolution by `method`.

    Args:
      method: How to compute it.
      backprop: What to compute it from, filters included.

    Returns:
      A tensor of the shape and the dtype of `backprop.input`.
    """
    del backprop
    raise _unknown(method)


def _unknown(method: GradientMethod) -> TypeError:
    return TypeError(
        f"input_gradient={method!r} has no input gradient; register a function for "
        f"{type(method).__name__} with "
        "tf_approxgrad.input_gradient.input_gradient.register."
    )


def parse_input_gradient(identifier: MethodLike | None) -> GradientMethod | None:
    """Reads the argument `input_gradient`, as `methods.get` does, or `None`.

    Raises:
      TypeError: If it has the wrong type, or is a method without an input gradient.
      ValueError: If the name is unknown, or the dict doesn't describe a method.
    """
    if identifier is None:
        return None
    method = parse(identifier, "input_gradient must be None or")
    if input_gradient.dispatch(type(method)) is input_gradient.dispatch(object):
        raise _unknown(method)
    return method


def is_biased(method: GradientMethod) -> bool:
    """Whether the mean input gradient of many steps is known to be another than the
    exact one."""
    if isinstance(method, SampledGradient):
        return method.scale != 1
    if isinstance(method, RowSampledGradient):
        # By "product" a row is never drawn if its patch is zero, which counts for the
        # input gradient all the same.
        by_product = method.probability == "product" and method.share < 1
        return method.scale != 1 or by_product
    return isinstance(method, ZeroGradient | RandomGradient | MaxGradient)


@input_gradient.register
def _full(method: FullGradient, backprop: Backprop) -> tf.Tensor:
    del method
    return exact.input_gradient(
        backprop.input, backprop.filters, backprop.out_backprop, backprop.arguments
    )


@input_gradient.register
def _zero(method: ZeroGradient, backprop: Backprop) -> tf.Tensor:
    del method
    return tf.zeros_like(backprop.input)


@input_gradient.register
def _random(method: RandomGradient, backprop: Backprop) -> tf.Tensor:
    seed = method.seed ^ (_STREAM << 32)
    return normal_numbers(method, backprop, tf.shape(backprop.input), seed)


@input_gradient.register
def _max(method: MaxGradient, backprop: Backprop) -> tf.Tensor:
    return _kept(method, backprop, ops.approx_conv2d_backprop_input)


@input_gradient.register
def _sampled(method: SampledGradient, backprop: Backprop) -> tf.Tensor:
    return _kept(method, backprop, ops.approx_sampled_conv2d_backprop_input)


def _kept(
    method: MaxGradient | SampledGradient,
    backprop: Backprop,
    op: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """The gradient from the positions kept."""
    if not _needs_composition(backprop):
        return call_op(
            op,
            method.scale,
            backprop,
            input_sizes=tf.shape(backprop.input),
            filter=backprop.filters,
            **draws.kept_inputs(method, backprop),
        )
    weights = draws.kept_weights(method, backprop)
    dtype = xla.accumulator_dtype(backprop.input.dtype)
    gradient = _exact(
        tf.cast(backprop.input, dtype),
        tf.cast(backprop.filters, dtype),
        xla.kept_out_backprop(backprop.out_backprop, backprop.arguments, weights),
        backprop.arguments,
    )
    return scaled(gradient, factor_of(method.scale), backprop)


def _exact(
    input: tf.Tensor,
    filters: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
) -> tf.Tensor:
    """`exact.input_gradient`, with every explicit padding on a CPU as well.

    Transposed convolutions have it also with dilation and in the layout NCHW, for which
    TensorFlow has no kernel.
    """
    if arguments.padding != "EXPLICIT":
        return exact.input_gradient(input, filters, out_backprop, arguments)
    pads = arguments.explicit_paddings
    padded = tf.pad(input, list(zip(pads[::2], pads[1::2], strict=True)))
    arguments = dataclasses.replace(arguments, padding="VALID", explicit_paddings=())
    gradient = exact.input_gradient(padded, filters, out_backprop, arguments)
    return tf.slice(gradient, pads[::2], tf.shape(input))


@input_gradient.register
def _row_sampled(method: RowSampledGradient, backprop: Backprop) -> tf.Tensor:
    scale = factor_of(method.scale)
    if method.share == 1:
        return scaled(_full(FullGradient(), backprop), scale, backprop)
    if _needs_composition(backprop):
        gradient = row_sampled_input_gradient(
            backprop.input,
            backprop.filters,
            backprop.out_backprop,
            backprop.arguments,
            method,
            required_step(method, backprop),
            backprop.stream,
        )
        return scaled(gradient, scale, backprop)
    return call_op(
        ops.approx_row_sampled_conv2d_backprop_input,
        method.scale,
        backprop,
        input=backprop.input,
        filter=backprop.filters,
        **draws.drawn_row_inputs(method, backprop),
    )


def _needs_composition(backprop: Backprop) -> bool:
    """Whether TensorFlow's own ops are needed: the kernels are the CPU's alone."""
    return xla.is_compiling() or may_be_on_gpu(backprop.input)
