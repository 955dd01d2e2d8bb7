"""TensorFlow's own convolution and its exact gradients."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_approxgrad.gradients.conv_arguments import ConvArguments


def convolution(
    input: tf.Tensor, filters: tf.Tensor, arguments: ConvArguments
) -> tf.Tensor:
    """The convolution that `tf.nn.conv2d` computes."""
    if arguments.needs_decomposition:
        return _decomposed(input, filters, arguments)
    return tf.raw_ops.Conv2D(input=input, filter=filters, **arguments.for_op())


def filter_gradient(
    input: tf.Tensor,
    filter_sizes: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
) -> tf.Tensor:
    """The exact filter gradient, also where `Conv2DBackpropFilter` lacks a kernel."""
    if arguments.needs_decomposition:
        # The gradient of a convolution doesn't depend on the filters' values.
        filters = tf.zeros(filter_sizes, input.dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(filters)
            output = _decomposed(input, filters, arguments)
        return tape.gradient(output, filters, output_gradients=out_backprop)
    return tf.raw_ops.Conv2DBackpropFilter(
        input=input,
        filter_sizes=filter_sizes,
        out_backprop=out_backprop,
        **arguments.for_op(),
    )


def input_gradient(
    input: tf.Tensor,
    filters: tf.Tensor,
    out_backprop: tf.Tensor,
    arguments: ConvArguments,
) -> tf.Tensor:
    """The exact input gradient, also where `Conv2DBackpropInput` lacks a kernel.

    Only the shape of `input` is used.
    """
    if arguments.needs_decomposition:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(input)
            output = _decomposed(input, filters, arguments)
        return tape.gradient(output, input, output_gradients=out_backprop)
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(input),
        filter=filters,
        out_backprop=out_backprop,
        **arguments.for_op(),
    )


def _decomposed(
    input: tf.Tensor, filters: tf.Tensor, arguments: ConvArguments
) -> tf.Tensor:
    """A convolution through one without dilation or explicit padding."""
    if arguments.padding == "EXPLICIT":
        input = tf.pad(input, tf.reshape(arguments.explicit_paddings, [4, 2]))
        arguments = dataclasses.replace(
            arguments, padding="VALID", explicit_paddings=()
        )
    spatial = slice(1, 3) if arguments.data_format == "NHWC" else slice(2, 4)
    if max(arguments.dilations) == 1:
        return tf.raw_ops.Conv2D(input=input, filter=filters, **arguments.for_op())
    return tf.nn.convolution(
        input,
        filters,
        padding=arguments.padding,
        data_format=arguments.data_format,
        dilations=list(arguments.dilations[spatial]),
    )
