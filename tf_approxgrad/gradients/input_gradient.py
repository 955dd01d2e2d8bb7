"""The input gradient of each method that has one.

As for the filter gradient, a method keeps weighted positions of the output gradient.
The approximation is the exact input gradient of this sparse output gradient. At the
same layer and step, both gradients keep the same positions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from tf_approxgrad.gradients import exact, fast_exact, op_inputs, op_library
from tf_approxgrad.gradients.conv_arguments import ConvArguments, accumulator_dtype
from tf_approxgrad.gradients.filter_gradient import normal_numbers
from tf_approxgrad.gradients.inputs import (
    GradientInputs,
    call_op,
    drawing_step,
    factor_of,
    may_be_on_gpu,
    scaled,
)
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.gradients.xla import positions
from tf_approxgrad.gradients.xla.rows import row_sampled_input_gradient
from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    MaxGradient,
    MethodLike,
    RandomGradient,
    RowSampledGradient,
    SampledGradient,
    WinogradGradient,
    ZeroGradient,
    parse,
)

# "INPT", XORed into the key's high word: input gradients and filter gradients draw from
# different streams.
_STREAM = 0x494E5054


@functools.singledispatch
def input_gradient(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """Computes the input gradient of a convolution by `method`.

    Args:
        method: Gradient method.
        inputs: Input, filters, output gradient and geometry of the convolution.

    Returns:
        A tensor of the shape and the dtype of `inputs.input`.

    Raises:
        TypeError: If no function is registered for the method.
    """
    del inputs
    raise _unknown(method)


def _unknown(method: GradientMethod) -> TypeError:
    return TypeError(
        f"input_gradient={method!r} has no input gradient: register a function with "
        f"tf_approxgrad.register_filter_gradient({type(method).__name__}, function, "
        "input_gradient=function)."
    )


def parse_input_gradient(identifier: MethodLike | None) -> GradientMethod | None:
    """Parses the argument `input_gradient`: `None`, or as for `methods.get`.

    Raises:
        TypeError: If it has the wrong type, or the method has no input gradient.
        ValueError: If the name is unknown, or the dict doesn't describe a method.
    """
    if identifier is None:
        return None
    method = parse(identifier, "input_gradient must be None or")
    if input_gradient.dispatch(type(method)) is input_gradient.dispatch(object):
        raise _unknown(method)
    return method


def is_biased(method: GradientMethod) -> bool:
    """Whether the method's input gradient is known to be biased."""
    if isinstance(method, SampledGradient):
        return method.scale != 1
    if isinstance(method, RowSampledGradient):
        # With "product", rows of zero patches are never drawn, but contribute to the
        # input gradient.
        by_product = method.probability == "product" and method.share < 1
        return method.scale != 1 or by_product
    return isinstance(method, ZeroGradient | RandomGradient | MaxGradient)


@input_gradient.register
def _full(method: FullGradient, inputs: GradientInputs) -> tf.Tensor:
    del method
    return exact.input_gradient(
        inputs.input, inputs.filters, inputs.out_backprop, inputs.arguments
    )


input_gradient.register(ExactGradient, fast_exact.input_gradient)
input_gradient.register(WinogradGradient, fast_exact.input_gradient)


@input_gradient.register
def _zero(method: ZeroGradient, inputs: GradientInputs) -> tf.Tensor:
    del method
    return tf.zeros_like(inputs.input)


@input_gradient.register
def _random(method: RandomGradient, inputs: GradientInputs) -> tf.Tensor:
    seed = method.seed ^ (_STREAM << 32)
    return normal_numbers(method, inputs, tf.shape(inputs.input), seed)


@input_gradient.register
def _max(method: MaxGradient, inputs: GradientInputs) -> tf.Tensor:
    return _from_positions(method, inputs, op_library.approx_conv2d_backprop_input)


@input_gradient.register
def _sampled(method: SampledGradient, inputs: GradientInputs) -> tf.Tensor:
    return _from_positions(
        method, inputs, op_library.approx_sampled_conv2d_backprop_input
    )


def _from_positions(
    method: MaxGradient | SampledGradient,
    inputs: GradientInputs,
    op: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """The gradient from the kept positions."""
    if not _needs_composition(inputs):
        return call_op(
            op,
            method.scale,
            inputs,
            input_sizes=tf.shape(inputs.input),
            filter=inputs.filters,
            **op_inputs.position_inputs(method, inputs),
        )
    weights = positions.position_weights(method, inputs)
    dtype = accumulator_dtype(inputs.input.dtype)
    gradient = _exact(
        tf.cast(inputs.input, dtype),
        tf.cast(inputs.filters, dtype),
        positions.sparse_out_backprop(inputs.out_backprop, inputs.arguments, weights),
        inputs.arguments,
    )
    return scaled(gradient, factor_of(method.scale), inputs)


def _exact(
    input: tf.Tensor,
    filters: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
) -> tf.Tensor:
    """`exact.input_gradient`, with any explicit padding on the CPU too.

    Transposed convolutions combine it with dilation and with the layout NCHW, for which
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
def _row_sampled(method: RowSampledGradient, inputs: GradientInputs) -> tf.Tensor:
    scale = factor_of(method.scale)
    if method.share == 1:
        return scaled(_full(FullGradient(), inputs), scale, inputs)
    if _needs_composition(inputs):
        gradient = row_sampled_input_gradient(
            inputs.input,
            inputs.filters,
            inputs.out_backprop,
            inputs.arguments,
            method,
            drawing_step(method, inputs),
            inputs.stream,
        )
        return scaled(gradient, scale, inputs)
    return call_op(
        op_library.approx_row_sampled_conv2d_backprop_input,
        method.scale,
        inputs,
        input=inputs.input,
        filter=inputs.filters,
        **op_inputs.row_inputs(method, inputs),
    )


def _needs_composition(inputs: GradientInputs) -> bool:
    """Whether to compose TensorFlow's ops, as the kernels are for CPUs only."""
    return xla.is_compiling() or may_be_on_gpu(inputs.input)
