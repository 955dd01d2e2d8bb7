"""Exact gradients by this package's kernels, and the choice among them.

The choice depends on sizes and dtype alone, so that `conversion_report` can name the
kernel before training.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_approxgrad.gradients import exact, op_library
from tf_approxgrad.gradients.conv_arguments import ConvArguments
from tf_approxgrad.gradients.inputs import GradientInputs, may_be_on_gpu
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.methods import INT64_MAX, ExactGradient, GradientMethod

DENSE, WINOGRAD, POSITIONS = "dense", "winograd", "positions"

_WINOGRAD_DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class ConvolutionSizes:
    """The sizes of a convolution, as far as they are known before it runs.

    Attributes:
        input: Shape of X, `None` for unknown sizes.
        filters: `KH, KW, Ci, Co`, `None` for unknown sizes.
        arguments: Strides, padding, layout and dilations.
        dtype: Name of the dtype.
    """

    input: tuple[int | None, ...]
    filters: tuple[int | None, ...]
    arguments: ConvArguments
    dtype: str

    def kernel_of(self, method: GradientMethod, of_input: bool = False) -> str:
        """The kernel that computes an exact method's gradient on a CPU.

        Args:
            method: An exact method.
            of_input: Whether the gradient is that of the input.

        Returns:
            `"dense"` for TensorFlow's op, `"winograd"` or `"positions"`.
        """
        if method.name == "full" or None in self.filters:
            return DENSE
        if self._winograd_pays():
            return WINOGRAD
        if isinstance(method, ExactGradient) and not of_input:
            return POSITIONS if self._positions_pay() else DENSE
        return DENSE

    def _winograd_pays(self) -> bool:
        rows, cols, in_channels, out_channels = self.filters
        assert in_channels is not None and out_channels is not None
        return (
            (rows, cols) == (3, 3)
            and max(*self.arguments.strides, *self.arguments.dilations) == 1
            and self.dtype in _WINOGRAD_DTYPES
            and min(in_channels, out_channels) >= 8
        )

    def _positions_pay(self) -> bool:
        return False


def _sizes_of(inputs: GradientInputs) -> ConvolutionSizes:
    shape = inputs.input.shape
    sizes = tf.get_static_value(inputs.filter_sizes, partial=True)
    return ConvolutionSizes(
        (None,) * 4 if shape.rank is None else tuple(shape),
        (None,) * 4 if sizes is None else tuple(sizes),
        inputs.arguments,
        inputs.input.dtype.name,
    )


def _kernel_of(
    method: GradientMethod, inputs: GradientInputs, of_input: bool = False
) -> str:
    if xla.is_compiling() or may_be_on_gpu(inputs.input):
        return DENSE
    return _sizes_of(inputs).kernel_of(method, of_input)


def filter_gradient(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The exact filter gradient by `WinogradGradient` or `ExactGradient`."""
    kernel = _kernel_of(method, inputs)
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
        input=_for_winograd(inputs.input, inputs.arguments),
        filter_sizes=inputs.filter_sizes,
        out_backprop=_for_winograd(inputs.out_backprop, inputs.arguments),
        **inputs.arguments.channels_last().for_op(),
    )
    return tf.cast(gradient, inputs.input.dtype)


def input_gradient(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The exact input gradient by `WinogradGradient` or `ExactGradient`."""
    if _kernel_of(method, inputs, of_input=True) == DENSE:
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
        out_backprop=_for_winograd(inputs.out_backprop, inputs.arguments),
        **inputs.arguments.channels_last().for_op(),
    )
    if not is_channels_last:
        gradient = tf.transpose(gradient, [0, 3, 1, 2])
    return tf.cast(gradient, inputs.input.dtype)


def _for_winograd(tensor: tf.Tensor, arguments: ConvArguments) -> tf.Tensor:
    """A tensor as the kernel takes it: float32, channels last."""
    if arguments.data_format == "NCHW":
        tensor = tf.transpose(tensor, [0, 2, 3, 1])
    return tf.cast(tensor, tf.float32)
