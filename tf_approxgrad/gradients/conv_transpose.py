"""Transposed two-dimensional convolution with a choice of its gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient
from tf_approxgrad.gradients.inputs import (
    GradientFunction,
    GradientInputs,
    may_be_differentiated,
)
from tf_approxgrad.methods import FullGradient, GradientMethod


def transposed_convolution(
    layer: keras.layers.Conv2DTranspose,
    input: Any,
    kernel: tf.Tensor,
    of_kernel: Callable[[GradientInputs, GradientFunction], tf.Tensor],
    of_input: Callable[[GradientInputs, GradientFunction], tf.Tensor] | None,
) -> tf.Tensor:
    """The convolution of `layer`, with others in place of its gradients.

    TensorFlow computes the exact filter gradient as that of a convolution from the
    output to the input, in which input and dY change places; there a method would pick
    positions of the input. So that it picks those of dY, the layer is read as a
    convolution of stride 1 over its input spread out with zeros,

    `Y[o] = sum_k U[o + k*d - before] F[K-1-k]`, where `U[i*s] = X[i]`, and else 0.

    Args:
        layer: Where strides, padding and the like are read.
        input: `[N, H, W, Ci]` or `[N, Ci, H, W]`.
        kernel: `[KH, KW, Co, Ci]`.
        of_kernel: The filter gradient, from the inputs of the convolution of stride 1
            and a function for each method. Their `input` is not spread out yet, so that
            no method pays for it that doesn't read it.
        of_input: The input gradient likewise; `None` leaves it to Keras.

    Returns:
        The layer's output before bias and activation.
    """
    data_format = "NHWC" if layer.data_format == "channels_last" else "NCHW"
    axes = (1, 2) if data_format == "NHWC" else (2, 3)
    spreads = [
        _spread(kernel.shape[i], layer.strides[i], layer.dilation_rate[i], *ends)
        for i, ends in enumerate(_ends(layer, axes))
    ]
    paddings = [[0, 0] for _ in range(4)]
    for axis, spread in zip(axes, spreads, strict=True):
        paddings[axis] = [spread.before, max(spread.after, 0)]
    arguments = ConvArguments.parse(1, paddings, data_format, layer.dilation_rate)
    input = keras.ops.convert_to_tensor(input)

    def spread_out(input: tf.Tensor) -> tf.Tensor:
        for axis, spread in zip(axes, spreads, strict=True):
            input = _spread_out(input, axis, spread)
        return input

    def compute_of_kernel(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
        input, out_backprop = inputs.input, inputs.out_backprop
        if isinstance(method, FullGradient):
            return _gradient(lambda x: _convolve(layer, input, x), kernel, out_backprop)
        inputs = dataclasses.replace(inputs, input=spread_out(input))
        return _turned(filter_gradient(method, inputs))

    def compute_of_input(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
        input, out_backprop = inputs.input, inputs.out_backprop
        if isinstance(method, FullGradient):
            return _gradient(lambda x: _convolve(layer, x, kernel), input, out_backprop)
        inputs = dataclasses.replace(
            inputs, input=spread_out(input), filters=_turned(kernel)
        )
        return _gradient(spread_out, input, input_gradient(method, inputs))

    if not may_be_differentiated(input):
        of_input = None

    @tf.custom_gradient
    def attach(
        outputs: tf.Tensor, input: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        sizes = tf.gather(tf.shape(kernel), [0, 1, 3, 2])

        def gradients(
            out_backprop: tf.Tensor,
        ) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor]:
            inputs = GradientInputs(input, sizes, out_backprop, arguments)
            return (
                out_backprop,
                None if of_input is None else of_input(inputs, compute_of_input),
                of_kernel(inputs, compute_of_kernel),
            )

        return tf.identity(outputs), gradients

    # Keras' own convolution gives the output, and the input gradient unless another
    # takes its place.
    source = input if of_input is None else tf.stop_gradient(input)
    outputs = _convolve(layer, source, tf.stop_gradient(kernel))
    return attach(outputs, input, kernel)


def _turned(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel of the convolution of stride 1 from the layer's, or the reverse."""
    return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])


@dataclasses.dataclass(frozen=True)
class _Spread:
    """How the input is spread out along one axis.

    Attributes:
        stride: An element of the input, and `stride - 1` zeros after it.
        before: Zeros before the first element.
        after: Zeros after the last element's own; if it is negative, so many of those
            are cut off.
    """

    stride: int
    before: int
    after: int


def _spread(size: int, stride: int, dilation: int, ends: int, same: bool) -> _Spread:
    """Works out the padding of the convolution of stride 1.

    Args:
        size: Of the kernel.
        stride: Of the layer.
        dilation: Of the layer.
        ends: The output's size less `stride * (input's size - 1)`.
        same: Whether the layer's padding is "same".
    """
    extent = (size - 1) * dilation
    cut = max(extent + 1 - ends, 0) // 2 if same else 0
    return _Spread(stride, extent - cut, ends + cut - stride)


def _ends(
    layer: keras.layers.Conv2DTranspose, axes: tuple[int, int]
) -> list[tuple[int, bool]]:
    # The same for every size of the input, which may be unknown.
    shape = [1, 2, 2, 2]
    sizes = layer.compute_output_shape(tuple(shape))
    return [
        (sizes[axis] - stride, layer.padding == "same")
        for axis, stride in zip(axes, layer.strides, strict=True)
    ]


def _spread_out(input: tf.Tensor, axis: int, spread: _Spread) -> tf.Tensor:
    if spread.stride > 1:
        shape = tf.shape(input)
        pads = [[0, 0]] * 5
        pads[axis + 1] = [0, spread.stride - 1]
        shape = tf.tensor_scatter_nd_update(
            shape, [[axis]], [shape[axis] * spread.stride]
        )
        input = tf.reshape(tf.pad(tf.expand_dims(input, axis + 1), pads), shape)
    if spread.after < 0:
        sizes = [-1] * 4
        sizes[axis] = tf.shape(input)[axis] + spread.after
        input = tf.slice(input, [0] * 4, sizes)
    return input


def _gradient(
    function: Callable[[tf.Tensor], tf.Tensor], at: tf.Tensor, out_backprop: tf.Tensor
) -> tf.Tensor:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(at)
        outputs = function(at)
    return tape.gradient(outputs, at, output_gradients=out_backprop)


def _convolve(
    layer: keras.layers.Conv2DTranspose, input: tf.Tensor, kernel: tf.Tensor
) -> tf.Tensor:
    return keras.ops.conv_transpose(
        input,
        kernel,
        strides=list(layer.strides),
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
