"""Inputs of a convolution's gradients, and what every method makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_approxgrad import _compat
from tf_approxgrad.gradients.conv_arguments import ConvArguments, accumulator_dtype
from tf_approxgrad.methods import GradientMethod

# Reads the training step, a scalar integer tensor, where the gradient is computed.
StepReader = Callable[[], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class GradientInputs:
    """Inputs of the gradients of one call of a convolution.

    Attributes:
        input: Input activations, `[N, H, W, Ci]` or `[N, Ci, H, W]`.
        filter_sizes: int32 vector of 4 elements, `KH, KW, Ci, Co`.
        out_backprop: Gradient of the output, in the layout of `input`.
        arguments: Strides, padding, layout and dilations.
        filters: `[KH, KW, Ci, Co]`, for input gradients; `None` where there is none.
        layer: Layer index, from 1; 0 outside a model.
        step: Reads the training step; needed if the method's `needs_step` is true.
        stream: What keeps the random numbers of a model's layers apart: the layer
            index, or a number of its own for a layer whose index another has as well.
    """

    input: tf.Tensor
    filter_sizes: tf.Tensor
    out_backprop: tf.Tensor
    arguments: ConvArguments
    filters: tf.Tensor | None = None
    layer: int = 0
    step: StepReader | None = None
    stream: int = 0


# Computes a gradient by one method: those of a two-dimensional convolution, or what
# brings a layer's into their form.
GradientFunction = Callable[[GradientMethod, GradientInputs], tf.Tensor]


def required_step(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The training step, for a method that draws by it."""
    if inputs.step is None:
        raise ValueError(
            f"step=None, but {method!r} draws its numbers from (seed, layer, step): "
            "pass the training step, for example optimizer.iterations."
        )
    return inputs.step()


def factor_of(scale: float | str) -> float | None:
    """A method's scale as `scaled` takes it."""
    return None if isinstance(scale, str) else float(scale)


def scaled(
    gradient: tf.Tensor, factor: float | None, inputs: GradientInputs
) -> tf.Tensor:
    """`factor * gradient` in the dtype of the input; `None` means 1/N."""
    gradient = tf.cast(gradient, accumulator_dtype(inputs.input.dtype))
    if factor is None:
        batch = tf.shape(inputs.out_backprop)[0]
        gradient = tf.math.divide_no_nan(gradient, tf.cast(batch, gradient.dtype))
    else:
        gradient = gradient * factor
    return tf.cast(gradient, inputs.input.dtype)


def call_op(
    op: Callable[..., tf.Tensor],
    scale: float | str,
    inputs: GradientInputs,
    **arguments: Any,
) -> tf.Tensor:
    """What an op of ours makes of a method's scale, and of other arguments."""
    factor = factor_of(scale)
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = factor is not None and inputs.input.dtype == tf.float64
    gradient = op(
        out_backprop=inputs.out_backprop,
        scale=1.0 if factor is None or scaled_after else factor,
        mean_over_batch=factor is None,
        **arguments,
        **inputs.arguments.for_op(),
    )
    return gradient * factor if scaled_after else gradient


def may_be_on_gpu(tensor: tf.Tensor) -> bool:
    """Whether an op of a tensor may run on a GPU; a graph seldom says where."""
    if tensor.device:
        return "GPU" in tensor.device
    return bool(tf.config.list_logical_devices("GPU"))


def may_be_differentiated(tensor: tf.Tensor) -> bool:
    """Whether a gradient with respect to a tensor may be asked for.

    Of a graph nobody knows yet; there what isn't asked for doesn't run.
    """
    if not tf.executing_eagerly():
        return True
    return _compat.is_recorded(tensor)
