"""Inputs of a convolution's gradients, and computations that methods share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_approxgrad import _compat
from tf_approxgrad.gradients.conv_arguments import ConvArguments, accumulator_dtype
from tf_approxgrad.gradients.replicas import replica_count
from tf_approxgrad.methods import GradientMethod


@dataclasses.dataclass(frozen=True)
class GradientInputs:
    """Inputs of the gradients of one call of a convolution.

    Attributes:
        input: Input activations, `[N, H, W, Ci]` or `[N, Ci, H, W]`.
        filter_sizes: int32 vector of 4 elements, `KH, KW, Ci, Co`.
        out_backprop: Gradient of the output, in the layout of `input`.
        arguments: Strides, padding, layout and dilations.
        filters: `[KH, KW, Ci, Co]`, for input gradients; else `None`.
        layer: Layer index, from 1; 0 outside a model.
        step: Training step, an integer scalar; required if the method's `needs_step`
            is true. Read in the forward pass, as `choice`: the gradient of a loop can't
            read a variable that the loop itself doesn't.
        choice: Number of the method, an int32 scalar, of a layer that has a
            `MethodChoice`.
        share: Share of the rows drawn, a float64 scalar, in place of the method's own;
            not under XLA, where shapes are static.
        replica: Index of the replica, an integer scalar, where the methods differ.
        draw_offset: Added to the step for draws, an int64 scalar, where a call or a
            replica isn't the first; see `replicas.draw_offset`.
        stream: Number of the layer's random stream: its index, or an unused number if
            another layer has the same index.
    """

    input: tf.Tensor
    filter_sizes: tf.Tensor
    out_backprop: tf.Tensor
    arguments: ConvArguments
    filters: tf.Tensor | None = None
    layer: int = 0
    step: tf.Tensor | None = None
    stream: int = 0
    choice: tf.Tensor | None = None
    share: tf.Tensor | None = None
    replica: tf.Tensor | None = None
    draw_offset: tf.Tensor | None = None


# Computes a gradient by one method: of a two-dimensional convolution, or of a layer
# that is reduced to one.
GradientFunction = Callable[[GradientMethod, GradientInputs], tf.Tensor]


def required_step(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The training step; raises if none is given."""
    if inputs.step is None:
        raise ValueError(
            f"step=None, but {method!r} draws its numbers from (seed, layer, step): "
            "pass the training step, for example optimizer.iterations."
        )
    return inputs.step


def drawing_step(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """The step from which a call on a replica draws, an int64 scalar."""
    step = tf.cast(required_step(method, inputs), tf.int64)
    return step if inputs.draw_offset is None else step + inputs.draw_offset


def factor_of(scale: float | str) -> float | None:
    """The factor of a method's scale, for `scaled`."""
    return None if isinstance(scale, str) else float(scale)


def scaled(
    gradient: tf.Tensor, factor: float | None, inputs: GradientInputs
) -> tf.Tensor:
    """`factor * gradient` in the dtype of the input; factor `None` means 1/N.

    N is the number of examples on all replicas, which have equally many.
    """
    gradient = tf.cast(gradient, accumulator_dtype(inputs.input.dtype))
    if factor is None:
        batch = replica_count() * tf.shape(inputs.out_backprop)[0]
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
    """Calls an op of this package with a method's scale and other arguments."""
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
    if factor is None and replica_count() > 1:
        return gradient / replica_count()
    return gradient * factor if scaled_after else gradient


def may_be_on_gpu(tensor: tf.Tensor) -> bool:
    """Whether an op on a tensor may run on a GPU; a graph rarely has the device."""
    if tensor.device:
        return "GPU" in tensor.device
    return bool(tf.config.list_logical_devices("GPU"))


def may_be_differentiated(tensor: tf.Tensor) -> bool:
    """Whether a gradient with respect to a tensor may be requested.

    In a graph this isn't known yet; gradients that aren't used don't run there.
    """
    if not tf.executing_eagerly():
        return True
    return _compat.is_recorded(tensor)
