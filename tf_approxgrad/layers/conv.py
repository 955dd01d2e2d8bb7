"""`ApproxConv2D` and its like: layers of Keras with a choice of gradients."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad.gradients.conv2d import convolve
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.conv_transpose import transposed_convolution
from tf_approxgrad.layers.base import ApproximateLayer


@keras.saving.register_keras_serializable(package="tf_approxgrad", name="ApproxConv2D")
class ApproxConv2D(ApproximateLayer, keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose filter gradient is made by `method`.

    The output is that of `keras.layers.Conv2D`, the input gradient too unless
    `input_gradient` says how to make it, and everything where `training` isn't true:
    inference, evaluation and export run TensorFlow's own ops alone.

    Args:
        *args: As for `keras.layers.Conv2D`.
        method: The gradient method, or its name, at every step. A schedule set by
            `approximate_gradients` or by `ApproximationCallback` takes its place.
        input_gradient: The method, or its name, that makes the input gradient wherever
            that of the filter gradient isn't full; `None` leaves it exact. Its errors
            travel to all earlier layers.
        schedule: A schedule that picks the method by layer index and step. Set by
            `approximate_gradients`; here so that a saved model keeps it.
        layer_index: The layer's index for the schedule, from 1.
        layer_count: How many convertible layers the model had.
        converted_layers: The indices of those that were converted.
        left_out: Whether the gradient is exact, whatever `method` says. Set for a layer
            of a user's own class that is left out of a conversion.
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
        if not self._approximates():
            return super().convolution_op(inputs, kernel)
        return convolve(
            keras.ops.convert_to_tensor(inputs),
            _as_tensor(kernel),
            ConvArguments.parse(
                self.strides,
                self.padding.upper(),
                _data_format(self),
                self.dilation_rate,
            ),
            self._gradient_policy.filter_gradient,
            self._gradient_policy.input_gradient,
        )


class _ConvolvingLayer(ApproximateLayer):
    """Base class for layers of Keras that have no `convolution_op` to override."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        with self._training_is(training):
            if not self._approximates():
                return super().call(inputs)  # type: ignore[misc]
            return _activated(self, self._convolve(inputs))

    def _convolve(self, inputs: Any) -> tf.Tensor:
        """The convolution alone, without bias and activation."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="tf_approxgrad", name="ApproxConv1D")
class ApproxConv1D(_ConvolvingLayer, keras.layers.Conv1D):
    """`keras.layers.Conv1D` whose filter gradient is made by `method`.

    A convolution along one axis is one along two, the other of size 1.

    Args:
        *args: As for `keras.layers.Conv1D`.
        method: As for `ApproxConv2D`, and so are `input_gradient`, `schedule`,
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

    def _convolve(self, inputs: Any) -> tf.Tensor:
        inputs, padding = keras.ops.convert_to_tensor(inputs), self.padding
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
        )
        return tf.squeeze(outputs, added_axis)


@keras.saving.register_keras_serializable(
    package="tf_approxgrad", name="ApproxSeparableConv2D"
)
class ApproxSeparableConv2D(_ConvolvingLayer, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D`, its pointwise filter gradient by `method`.

    The pointwise convolution is a `Conv2D` of kernel size 1 and has nearly all of the
    cost. The gradient of the depthwise filters is exact. `input_gradient` makes what
    the pointwise convolution hands on, to the depthwise filters and to the input.

    Args:
        *args: As for `keras.layers.SeparableConv2D`.
        method: As for `ApproxConv2D`, and so are `input_gradient`, `schedule`,
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
            inputs,
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
        )


@keras.saving.register_keras_serializable(
    package="tf_approxgrad", name="ApproxConv2DTranspose"
)
class ApproxConv2DTranspose(_ConvolvingLayer, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` whose filter gradient is made by `method`.

    The positions that a method keeps are those of the gradient of the layer's output,
    as they are for `ApproxConv2D`.

    Args:
        *args: As for `keras.layers.Conv2DTranspose`.
        method: As for `ApproxConv2D`, and so are `input_gradient`, `schedule`,
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
            inputs,
            _as_tensor(self.kernel),
            policy.filter_gradient,
            policy.input_gradient if policy.makes_input_gradient() else None,
        )


APPROXIMATE_LAYERS: tuple[type[ApproximateLayer], ...] = (
    ApproxConv2D,
    ApproxConv1D,
    ApproxSeparableConv2D,
    ApproxConv2DTranspose,
)

# Files of weights are keyed by the class's name. With Keras' own name, those of a model
# load into the converted one, and the other way round.
for _class in APPROXIMATE_LAYERS:
    _class.__name__ = _class.stock.__name__


def _data_format(layer: Any) -> str:
    return "NHWC" if layer.data_format == "channels_last" else "NCHW"


def _as_tensor(kernel: Any) -> tf.Tensor:
    # Keras leaves a variable a variable, which tf.custom_gradient refuses in eager
    # mode.
    return tf.convert_to_tensor(keras.ops.convert_to_tensor(kernel))


def _activated(layer: Any, outputs: tf.Tensor) -> Any:
    """Adds the bias and applies the activation, as the layers of Keras do."""
    if layer.use_bias:
        shape = [1] * outputs.shape.rank
        shape[-1 if layer.data_format == "channels_last" else 1] = layer.filters
        outputs = keras.ops.add(outputs, keras.ops.reshape(layer.bias, shape))
    return outputs if layer.activation is None else layer.activation(outputs)
