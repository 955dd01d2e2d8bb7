"""`ApproxConv2D` and the other convolution layers with chosen gradient methods."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.gradients.conv2d import convolve
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.conv_transpose import transposed_convolution
from tf_approxgrad.gradients.kernel_choice import ConvolutionSizes
from tf_approxgrad.gradients.vectorized_map import keep_gradients
from tf_approxgrad.layers.base import ApproximateLayer

keep_gradients()


@keras.saving.register_keras_serializable(package="tf_approxgrad", name="ApproxConv2D")
class ApproxConv2D(ApproximateLayer, keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose filter gradient is computed by `method`.

    The output is that of `keras.layers.Conv2D`, and so is the input gradient unless
    `input_gradient` is given. Outside training (`training` not true), in inference,
    evaluation and export, the layer runs TensorFlow's ops only.

    Args:
        *args: As for `keras.layers.Conv2D`.
        method: The gradient method, or its name, at every step. A schedule set by
            `approximate_gradients` or by `ApproximationCallback` overrides it.
        input_gradient: The method of the input gradient, or its name, wherever the
            filter gradient's isn't full; `None` means exact. Its errors propagate to
            all earlier layers.
        schedule: Schedule that picks the method by layer index and step. Set by
            `approximate_gradients` and restored from saved models.
        layer_index: Layer index for the schedule, from 1.
        layer_count: Number of convertible layers in the model.
        converted_layers: Indices of the converted ones.
        left_out: Whether the gradient is exact whatever `method` is. Set for layers of
            user-defined subclasses that a conversion excludes.
        **kwargs: As for `keras.layers.Conv2D`. `groups` must be 1.

    Raises:
        ValueError: If `groups` isn't 1, or an argument isn't allowed.

    Example:

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfag.ApproxConv2D(8, 3, activation="relu", method=tfag.MaxGradient(k=2)),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     keras.layers.Dense(10),
    ... ])
    >>> model.layers[0].method
    MaxGradient(k=2, scale='batch')
    """

    stock = keras.layers.Conv2D

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        with self._training_is(training):
            return super().call(inputs)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if not self._makes_gradients():
            return super().convolution_op(inputs, kernel)
        arguments = ConvArguments.parse(
            self.strides, self.padding.upper(), _data_format(self), self.dilation_rate
        )
        tensor = _as_tensor(inputs)
        sizes = ConvolutionSizes(
            tuple(tensor.shape), tuple(kernel.shape), arguments, tensor.dtype.name
        )
        if self._gradient_policy.is_dense(sizes):
            return super().convolution_op(inputs, kernel)
        return convolve(
            tensor,
            _as_tensor(kernel),
            arguments,
            self._gradient_policy.filter_gradient,
            self._gradient_policy.input_gradient,
            self._gradient_policy.read(),
        )


class _ConvolvingLayer(ApproximateLayer):
    """Base class for Keras layers that have no `convolution_op` to override."""

    # Whether exact gradients have kernels other than TensorFlow's.
    _has_exact_kernels = False

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        with self._training_is(training):
            if not self._makes_gradients() or (
                not self._has_exact_kernels and self._gradient_policy.is_dense()
            ):
                return super().call(inputs)  # type: ignore[misc]
            return _activated(self, self._convolve(inputs))

    def _convolve(self, inputs: Any) -> tf.Tensor:
        """The convolution, without bias and activation."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="tf_approxgrad", name="ApproxConv1D")
class ApproxConv1D(_ConvolvingLayer, keras.layers.Conv1D):
    """`keras.layers.Conv1D` whose filter gradient is computed by `method`.

    It is computed as a two-dimensional convolution with an axis of size 1.

    Args:
        *args: As for `keras.layers.Conv1D`.
        method: As for `ApproxConv2D`; likewise `input_gradient`, `schedule`,
            `layer_index`, `layer_count`, `converted_layers` and `left_out`.
        **kwargs: As for `keras.layers.Conv1D`. `groups` must be 1.

    Raises:
        ValueError: If `groups` isn't 1, or an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.ApproxConv1D(8, 3, padding="causal", method="max").method
    MaxGradient(k=1, scale='batch')
    """

    stock = keras.layers.Conv1D
    _has_exact_kernels = True

    def _convolve(self, inputs: Any) -> tf.Tensor:
        inputs, padding = _as_tensor(inputs), self.padding
        added_axis = 1 if self.data_format == "channels_last" else 2
        if padding == "causal":
            before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            pads = [[0, 0], [0, 0], [0, 0]]
            pads[added_axis] = [before, 0]
            inputs, padding = tf.pad(inputs, pads), "valid"
        outputs = convolve(
            tf.expand_dims(inputs, added_axis),
            tf.expand_dims(_as_tensor(self.kernel), 0),
            ConvArguments.parse(
                (1, *self.strides),
                padding.upper(),
                _data_format(self),
                (1, *self.dilation_rate),
            ),
            self._gradient_policy.filter_gradient,
            self._gradient_policy.input_gradient,
            self._gradient_policy.read(),
        )
        return tf.squeeze(outputs, added_axis)


@keras.saving.register_keras_serializable(
    package="tf_approxgrad", name="ApproxSeparableConv2D"
)
class ApproxSeparableConv2D(_ConvolvingLayer, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with a pointwise filter gradient by `method`.

    The pointwise convolution is a `Conv2D` of kernel size 1 and has nearly all of the
    cost. The gradient of the depthwise filters is exact. `input_gradient` is the method
    of the pointwise convolution's input gradient, which the depthwise filters' gradient
    and the layer's input gradient derive from.

    Args:
        *args: As for `keras.layers.SeparableConv2D`.
        method: As for `ApproxConv2D`; likewise `input_gradient`, `schedule`,
            `layer_index`, `layer_count`, `converted_layers` and `left_out`.
        **kwargs: As for `keras.layers.SeparableConv2D`.

    Raises:
        ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.ApproxSeparableConv2D(8, 3, method=tfag.MaxGradient(k=2)).method
    MaxGradient(k=2, scale='batch')
    """

    stock = keras.layers.SeparableConv2D

    def _convolve(self, inputs: Any) -> tf.Tensor:
        depthwise = keras.ops.depthwise_conv(
            _as_tensor(inputs),
            self.depthwise_kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return convolve(
            depthwise,
            _as_tensor(self.pointwise_kernel),
            ConvArguments.parse(1, "VALID", _data_format(self), 1),
            self._gradient_policy.filter_gradient,
            self._gradient_policy.input_gradient,
            self._gradient_policy.read(),
        )


@keras.saving.register_keras_serializable(
    package="tf_approxgrad", name="ApproxConv2DTranspose"
)
class ApproxConv2DTranspose(_ConvolvingLayer, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with a filter gradient by `method`.

    Methods keep positions of the layer's output gradient, as for `ApproxConv2D`.

    Args:
        *args: As for `keras.layers.Conv2DTranspose`.
        method: As for `ApproxConv2D`; likewise `input_gradient`, `schedule`,
            `layer_index`, `layer_count`, `converted_layers` and `left_out`.
        **kwargs: As for `keras.layers.Conv2DTranspose`.

    Raises:
        ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> tfag.ApproxConv2DTranspose(8, 3, strides=2, method="max").method
    MaxGradient(k=1, scale='batch')
    """

    stock = keras.layers.Conv2DTranspose

    def _convolve(self, inputs: Any) -> tf.Tensor:
        policy = self._gradient_policy
        return transposed_convolution(
            self,
            _as_tensor(inputs),
            _as_tensor(self.kernel),
            policy.filter_gradient,
            policy.input_gradient,
            policy.read(),
        )


APPROXIMATE_LAYERS: tuple[type[ApproximateLayer], ...] = (
    ApproxConv2D,
    ApproxConv1D,
    ApproxSeparableConv2D,
    ApproxConv2DTranspose,
)

# Weights files are keyed by class name. With Keras' names, the weights of a model load
# into the converted model and vice versa.
for _class in APPROXIMATE_LAYERS:
    _class.__name__ = _class.stock.__name__


def _data_format(layer: Any) -> str:
    return "NHWC" if layer.data_format == "channels_last" else "NCHW"


def _as_tensor(value: Any) -> tf.Tensor:
    # In eager mode Keras returns a variable unchanged, which tf.custom_gradient
    # rejects.
    return tf.convert_to_tensor(keras.ops.convert_to_tensor(value))


def _activated(layer: Any, outputs: tf.Tensor) -> Any:
    """Adds the bias and applies the activation, as Keras' layers do."""
    if layer.use_bias:
        shape = [1] * outputs.shape.rank
        shape[-1 if layer.data_format == "channels_last" else 1] = layer.filters
        outputs = keras.ops.add(outputs, keras.ops.reshape(layer.bias, shape))
    return outputs if layer.activation is None else layer.activation(outputs)
