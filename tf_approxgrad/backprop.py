"""What the gradients of a convolution are made from, and what every method needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Whether anything is recorded of a tensor. TensorFlow has no public name for it.
from tensorflow.python.ops import gradients_util

from tf_approxgrad import xla
from tf_approxgrad.arguments import ConvArguments
from tf_approxgrad.methods import GradientMethod

# Reads the training step, a scalar integer tensor, where the gradient is computed.
StepReader = Callable[[], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Backprop:
    """All that the gradients of a convolution are made from.

    Attributes:
      input: Input activations, `[N, H, W, Ci]` or `[N, Ci, H, W]`.
      filter_sizes: int32 vector of 4 elements, `KH, KW, Ci, Co`.
      out_backprop: Gradient of the output, in the layout of `input`.
      arguments: Strides, padding, layout and dilations.
      filters: The filters, which an input gradient is made from; `None` if none is.
      layer: Layer index, from 1; 0 outside a model.
      step: Reads the training step; needed if the method's `needs_step` is true.
      stream: What keeps the random numbers of a model's layers apart: the layer index,
        or a number of its own for a layer whose index another has as well.
    """

    input: tf.Tensor
    filter_sizes: tf.Tensor
    out_backprop: tf.Tensor
    arguments: ConvArguments
    filters: tf.Tensor | None = None
    layer: int = 0
    step: StepReader | None = None
    stream: int = 0


def required_step(method: GradientMethod, backprop: Backprop) -> tf.Tensor:
    """The training step, for a method that draws by it."""
    if backprop.step is None:
        raise ValueError(
            f"step=None, but {method!r} draws its numbers from (seed, layer, step): "
            "pass the training step, for example optimizer.iterations."
        )
    return backprop.step()


def factor_of(scale: float | str) -> float | None:
    """A method's scale as `scaled` takes it."""
    return None if isinstance(scale, str) else float(scale)


def scaled(gradient: tf.Tensor, factor: float | None, backprop: Backprop) -> tf.Tensor:
    """`factor * gradient` in the dtype of the input; `None` means 1/N."""
    gradient = tf.cast(gradient, xla.accumulator_dtype(backprop.input.dtype))
    if factor is None:
        batch = tf.shape(backprop.out_backprop)[0]
        gradient = tf.math.divide_no_nan(gradient, tf.cast(batch, gradient.dtype))
    else:
        gradient = gradient * factor
    return tf.cast(gradient, backprop.input.dtype)


def call_op(
    op: Callable[..., tf.Tensor],
    scale: float | str,
    backprop: Backprop,
    **arguments: Any,
) -> tf.Tensor:
    """What an op of ours makes of a method's scale, and of other arguments."""
    factor = factor_of(scale)
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = factor is not None and backprop.input.dtype == tf.float64
    gradient = op(
        out_backprop=backprop.out_backprop,
        scale=1.0 if factor is None or scaled_after else factor,
        mean_over_batch=factor is None,
        **arguments,
        **backprop.arguments.for_op(),
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
    recorded = gradients_util.PossibleTapeGradientTypes([tensor])
    return bool(recorded != gradients_util.POSSIBLE_GRADIENT_TYPES_NONE)
