"""The kernels that compute a layer's exact gradients."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_approxgrad.conversion.flops import input_shape
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.kernel_choice import DENSE, ConvolutionSizes
from tf_approxgrad.methods import ExactGradient, GradientMethod, WinogradGradient


def label_with_kernel(
    layer: keras.layers.Layer, method: GradientMethod, of_input: bool = False
) -> str:
    """A method's label, followed by the kernel if the method leaves that open."""
    if not isinstance(method, ExactGradient | WinogradGradient):
        return method.label
    sizes = convolution_sizes(layer)
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    kernel = DENSE if sizes is None or on_gpu else sizes.kernel_of(method, of_input)
    return method.label if kernel == method.name else f"{method.label} ({kernel})"


def convolution_sizes(layer: keras.layers.Layer) -> ConvolutionSizes | None:
    """The convolution that a layer is computed as.

    `None` for layers that aren't built, and for those that are computed as several.
    """
    shape = input_shape(layer)
    if shape is None or not isinstance(
        layer, keras.layers.Conv2D | keras.layers.Conv1D
    ):
        return None
    data_format = "NHWC" if layer.data_format == "channels_last" else "NCHW"
    filters, strides = tuple(layer.kernel.shape), layer.strides
    padding, dilations = layer.padding, layer.dilation_rate
    if isinstance(layer, keras.layers.Conv1D):
        added = 1 if data_format == "NHWC" else 2
        if padding == "causal":
            before = dilations[0] * (filters[0] - 1)
            length = shape[added]
            length = None if length is None else length + before
            shape, padding = (*shape[:added], length, *shape[added + 1 :]), "valid"
        shape = (*shape[:added], 1, *shape[added:])
        filters, strides, dilations = (1, *filters), (1, *strides), (1, *dilations)
    arguments = ConvArguments.parse(strides, padding.upper(), data_format, dilations)
    return ConvolutionSizes(
        tuple(shape), tuple(filters), arguments, layer.compute_dtype
    )
