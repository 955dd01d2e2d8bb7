"""Exact gradients by the fastest kernel."""

from __future__ import annotations

import tensorflow as tf

from tf_approxgrad.gradients import exact, op_library
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.inputs import GradientInputs, may_be_on_gpu
from tf_approxgrad.gradients.kernel_choice import DENSE, POSITIONS, ConvolutionSizes
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.methods import INT64_MAX, GradientMethod


def _sizes_of(inputs: GradientInputs) -> ConvolutionSizes:
    shape = inputs.input.shape
    sizes = tf.get_static_value(inputs.filter_sizes, partial=True)
    return ConvolutionSizes(
        (None,) * 4 if shape.rank is None else tuple(shape),
        (None,) * 4 if sizes is None else tuple(sizes),
        inputs.arguments,
        inputs.input.dtype.name,
    )


def kernel_of(
    method: GradientMethod, inputs: GradientInputs, of_input: bool = False
) -> str:
    """The kernel that computes a gradient by an exact method."""
    if xla.is_compiling() or may_be_on_gpu(inputs.input):
        return DENSE
    return _sizes_of(inputs).kernel_of(method, of_input)


def filter_gradient(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The exact filter gradient by `WinogradGradient` or `ExactGradient`."""
    kernel = kernel_of(method, inputs)
    if kernel == DENSE:
        return exact.filter_gradient(
            inputs.input, inputs.filter_sizes, inputs.out_backprop, inputs.arguments
        )
    if kernel == POSITIONS:
        return op_library.approx_conv2d_backprop_filter(
            input=inputs.input,
            filter_sizes=inputs.filter_sizes,
            out_backprop=inputs.out_backprop,
            k=INT64_MAX,
            **inputs.arguments.for_op(),
        )
    gradient = op_library.approx_winograd_conv2d_backprop_filter(
        input=for_winograd(inputs.input, inputs.arguments),
        filter_sizes=inputs.filter_sizes,
        out_backprop=for_winograd(inputs.out_backprop, inputs.arguments),
        **inputs.arguments.channels_last().for_op(),
    )
    return tf.cast(gradient, inputs.input.dtype)


def input_gradient(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The exact input gradient by `WinogradGradient` or `ExactGradient`."""
    if kernel_of(method, inputs, of_input=True) == DENSE:
        return exact.input_gradient(
            inputs.input, inputs.filters, inputs.out_backprop, inputs.arguments
        )
    is_channels_last = inputs.arguments.data_format == "NHWC"
    sizes = tf.shape(inputs.input)
    if not is_channels_last:
        sizes = tf.gather(sizes, [0, 2, 3, 1])
    gradient = op_library.approx_winograd_conv2d_backprop_input(
        input_sizes=sizes,
        filter=tf.cast(inputs.filters, tf.float32),
        out_backprop=for_winograd(inputs.out_backprop, inputs.arguments),
        **inputs.arguments.channels_last().for_op(),
    )
    if not is_channels_last:
        gradient = tf.transpose(gradient, [0, 3, 1, 2])
    return tf.cast(gradient, inputs.input.dtype)


def for_winograd(tensor: tf.Tensor, arguments: ConvArguments) -> tf.Tensor:
    """A tensor as the kernel takes it: float32, channels last."""
    if arguments.data_format == "NCHW":
        tensor = tf.transpose(tensor, [0, 2, 3, 1])
    return tf.cast(tensor, tf.float32)
