"""Transposed two-dimensional convolution whose gradients methods compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tf_approxgrad.gradients.attachment import attach_gradient
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient
from tf_approxgrad.gradients.inputs import (
    GradientFunction,
    GradientInputs,
    may_be_differentiated,
)
from tf_approxgrad.methods import EXACT_METHODS, GradientMethod


def transposed_convolution(
    layer: keras.layers.Conv2DTranspose,
    input: tf.Tensor,
    kernel: tf.Tensor,
    of_kernel: Callable[[GradientInputs, GradientFunction], tf.Tensor],
    of_input: Callable[[GradientInputs, GradientFunction], tf.Tensor],
    read: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """The convolution of `layer` with the given functions as its gradients.

    TensorFlow computes the exact filter gradient as that of a convolution from the
    output to the input, in which input and dY change places. A method would then pick
    positions of the input. To pick those of dY, the layer is treated as a convolution
    of stride 1 over its input with zeros inserted:

    `Y[o] = sum_k U[o + k*d - before] F[K-1-k]`, where `U[i*s] = X[i]` and U is 0
    elsewhere.

    Args:
        layer: The layer whose strides, padding and dilations apply.
        input: `[N, H, W, Ci]` or `[N, Ci, H, W]`.
        kernel: `[KH, KW, Co, Ci]`.
        of_kernel: Computes the filter gradient from the inputs of the convolution of
            stride 1 and the gradient by one method. In these inputs, `input` has no
            zeros inserted yet, which spares methods that don't read it the cost, and
            `filters` is the layer's kernel.
        of_input: Computes the input gradient likewise.
        read: Tensors of `GradientInputs` that are read in the forward pass.

    Returns:
        The layer's output before bias and activation.
    """
    data_format = "NHWC" if layer.data_format == "channels_last" else "NCHW"
    axes = (1, 2) if data_format == "NHWC" else (2, 3)
    insertions = [
        _zero_insertion(
            kernel.shape[i], layer.strides[i], layer.dilation_rate[i], *overhang
        )
        for i, overhang in enumerate(_overhangs(layer, axes))
    ]
    paddings = [[0, 0] for _ in range(4)]
    for axis, insertion in zip(axes, insertions, strict=True):
        paddings[axis] = [insertion.before, max(insertion.after, 0)]
    arguments = ConvArguments.parse(1, paddings, data_format, layer.dilation_rate)

    def insert_zeros(input: tf.Tensor) -> tf.Tensor:
        for axis, insertion in zip(axes, insertions, strict=True):
            input = _insert_zeros(input, axis, insertion)
        return input

    def compute_of_kernel(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
        if isinstance(method, EXACT_METHODS):
            return _gradient(
                lambda x: _convolve(layer, inputs.input, x),
                inputs.filters,
                inputs.out_backprop,
            )
        inputs = dataclasses.replace(inputs, input=insert_zeros(inputs.input))
        return _flipped(filter_gradient(method, inputs))

    def compute_of_input(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
        input, kernel = inputs.input, inputs.filters
        if isinstance(method, EXACT_METHODS):
            return _gradient(
                lambda x: _convolve(layer, x, kernel), input, inputs.out_backprop
            )
        inputs = dataclasses.replace(
            inputs, input=insert_zeros(input), filters=_flipped(kernel)
        )
        return _gradient(insert_zeros, input, input_gradient(method, inputs))

    needs_input_gradient = may_be_differentiated(input)

    def gradients(
        out_backprop: tf.Tensor, tensors: Sequence[tf.Tensor]
    ) -> list[tf.Tensor | None]:
        input, kernel, *values = tensors
        inputs = GradientInputs(
            input,
            tf.gather(tf.shape(kernel), [0, 1, 3, 2]),
            out_backprop,
            arguments,
            kernel,
            **dict(zip(read, values, strict=True)),
        )
        return [
            of_input(inputs, compute_of_input) if needs_input_gradient else None,
            of_kernel(inputs, compute_of_kernel),
        ]

    output = _convolve(layer, input, kernel)
    return attach_gradient(output, [input, kernel, *read.values()], gradients)


def _flipped(kernel: tf.Tensor) -> tf.Tensor:
    """The layer's kernel as that of the convolution of stride 1, or the reverse."""
    return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])


@dataclasses.dataclass(frozen=True)
class _ZeroInsertion:
    """Zeros inserted into the input along one axis.

    Attributes:
        stride: Distance between elements: `stride - 1` zeros follow each.
        before: Number of zeros before the first element.
        after: Number of zeros after those of the last element; if negative, the number
            cut off.
    """

    stride: int
    before: int
    after: int


def _zero_insertion(
    size: int, stride: int, dilation: int, overhang: int, same: bool
) -> _ZeroInsertion:
    """Computes the padding of the convolution of stride 1.

    Args:
        size: Kernel size.
        stride: Stride of the layer.
        dilation: Dilation of the layer.
        overhang: Output size minus `stride * (input size - 1)`.
        same: Whether the layer's padding is "same".
    """
    extent = (size - 1) * dilation
    cut = max(extent + 1 - overhang, 0) // 2 if same else 0
    return _ZeroInsertion(stride, extent - cut, overhang + cut - stride)


def _overhangs(
    layer: keras.layers.Conv2DTranspose, axes: tuple[int, int]
) -> list[tuple[int, bool]]:
    # The result doesn't depend on the input's size, which may be unknown.
    shape = [1, 2, 2, 2]
    sizes = layer.compute_output_shape(tuple(shape))
    return [
        (sizes[axis] - stride, layer.padding == "same")
        for axis, stride in zip(axes, layer.strides, strict=True)
    ]


def _insert_zeros(input: tf.Tensor, axis: int, insertion: _ZeroInsertion) -> tf.Tensor:
    if insertion.stride > 1:
        shape = tf.shape(input)
        pads = [[0, 0]] * 5
        pads[axis + 1] = [0, insertion.stride - 1]
        shape = tf.tensor_scatter_nd_update(
            shape, [[axis]], [shape[axis] * insertion.stride]
        )
        input = tf.reshape(tf.pad(tf.expand_dims(input, axis + 1), pads), shape)
    if insertion.after < 0:
        sizes = [-1] * 4
        sizes[axis] = tf.shape(input)[axis] + insertion.after
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
