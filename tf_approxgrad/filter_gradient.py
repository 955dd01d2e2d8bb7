"""What each method computes in place of the exact filter gradient.

A new method needs a class in `tf_approxgrad.methods` and a function registered
here. If the class says `supports_jit`, the function must use ops that XLA knows where
`xla.is_compiling()`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_approxgrad import ops, xla
from tf_approxgrad.arguments import ConvArguments
from tf_approxgrad.methods import (
    FullGradient,
    GradientMethod,
    MaxGradient,
    RandomGradient,
    RowSampledGradient,
    SampledGradient,
    ZeroGradient,
)
from tf_approxgrad.position_sampling import sampled_weights
from tf_approxgrad.row_sampling import row_sampled_filter_gradient, rows_to_draw

# Reads the training step, a scalar integer tensor, where the gradient is computed.
StepReader = Callable[[], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Backprop:
    """All that a filter gradient is made from.

    Attributes:
      input: Input activations, `[N, H, W, Ci]` or `[N, Ci, H, W]`.
      filter_sizes: int32 vector of 4 elements, `KH, KW, Ci, Co`.
      out_backprop: Gradient of the output, in the layout of `input`.
      arguments: Strides, padding, layout and dilations.
      layer: Layer index, from 1; 0 outside a model.
      step: Reads the training step; needed if the method's `needs_step` is true.
      stream: What keeps the random numbers of a model's layers apart: the layer index,
        or a number of its own for a layer whose index another has as well.
    """

    input: tf.Tensor
    filter_sizes: tf.Tensor
    out_backprop: tf.Tensor
    arguments: ConvArguments
    layer: int = 0
    step: StepReader | None = None
    stream: int = 0


@functools.singledispatch
def filter_gradient(method: GradientMethod, backprop: Backprop) -> tf.Tensor:
    """Computes the filter gradient of a convolution by `method`.

    Args:
      method: How to compute it.
      backprop: What to compute it from.

    Returns:
      A tensor of the shape `backprop.filter_sizes` and the dtype of the input.
    """
    del backprop
    raise TypeError(
        f"method={method!r} has no filter gradient; register a function for "
        f"{type(method).__name__} with "
        "tf_approxgrad.filter_gradient.filter_gradient.register."
    )


@filter_gradient.register
def _full(method: FullGradient, backprop: Backprop) -> tf.Tensor:
    del method
    input, arguments = backprop.input, backprop.arguments
    if arguments.needs_decomposition:
        # The gradient of a convolution doesn't depend on the filters' values.
        filters = tf.zeros(backprop.filter_sizes, input.dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(filters)
            output = decomposed_convolution(input, filters, arguments)
        return tape.gradient(output, filters, output_gradients=backprop.out_backprop)
    return tf.raw_ops.Conv2DBackpropFilter(
        input=input,
        filter_sizes=backprop.filter_sizes,
        out_backprop=backprop.out_backprop,
        **arguments.for_op(),
    )


@filter_gradient.register
def _zero(method: ZeroGradient, backprop: Backprop) -> tf.Tensor:
    del method
    return tf.zeros(backprop.filter_sizes, backprop.input.dtype)


@filter_gradient.register
def _random(method: RandomGradient, backprop: Backprop) -> tf.Tensor:
    step = _required_step(method, backprop)
    if xla.is_compiling():
        normals = xla.random_filter_gradient(
            backprop.filter_sizes, step, method.seed, backprop.stream
        )
        return _scaled(normals, method.stddev, backprop)
    by_batch = method.stddev is None
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = not by_batch and backprop.input.dtype == tf.float64
    gradient = ops.approx_random_filter_gradient(
        filter_sizes=backprop.filter_sizes,
        out_backprop=backprop.out_backprop,
        step=tf.cast(step, tf.int64),
        seed=method.seed,
        layer=backprop.stream,
        stddev=1.0 if by_batch or scaled_after else method.stddev,
        mean_over_batch=by_batch,
    )
    return gradient * method.stddev if scaled_after else gradient


@filter_gradient.register
def _max(method: MaxGradient, backprop: Backprop) -> tf.Tensor:
    def weights(rows: tf.Tensor) -> tf.Tensor:
        return xla.max_weights(rows, method.k)

    return _kept(method, backprop, weights, ops.approx_conv2d_backprop_filter)


@filter_gradient.register
def _sampled(method: SampledGradient, backprop: Backprop) -> tf.Tensor:
    step = _required_step(method, backprop)

    def weights(rows: tf.Tensor) -> tf.Tensor:
        return sampled_weights(rows, method.k, step, method.seed, backprop.stream)

    return _kept(
        method,
        backprop,
        weights,
        ops.approx_sampled_conv2d_backprop_filter,
        step=tf.cast(step, tf.int64),
        seed=method.seed,
        layer=backprop.stream,
    )


def _kept(
    method: MaxGradient | SampledGradient,
    backprop: Backprop,
    weights: Callable[[tf.Tensor], tf.Tensor],
    op: Callable[..., tf.Tensor],
    **inputs: Any,
) -> tf.Tensor:
    """The gradient from the positions kept, by the kernel or as XLA can compile it."""
    scale = None if method.scale == "batch" else float(method.scale)
    if xla.is_compiling():
        gradient = xla.kept_filter_gradient(
            backprop.input,
            backprop.filter_sizes,
            backprop.out_backprop,
            backprop.arguments,
            weights,
        )
        return _scaled(gradient, scale, backprop)
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = scale is not None and backprop.input.dtype == tf.float64
    is_share = isinstance(method.k, float)
    gradient = op(
        input=backprop.input,
        filter_sizes=backprop.filter_sizes,
        out_backprop=backprop.out_backprop,
        k=1 if is_share else method.k,
        k_share=xla.share_attribute(method.k) if is_share else 0.0,
        scale=1.0 if scale is None or scaled_after else scale,
        mean_over_batch=scale is None,
        **inputs,
        **backprop.arguments.for_op(),
    )
    return gradient * scale if scaled_after else gradient


@filter_gradient.register
def _row_sampled(method: RowSampledGradient, backprop: Backprop) -> tf.Tensor:
    by_batch = method.scale == "batch"
    scale = None if by_batch else float(method.scale)
    if method.share == 1:
        return _scaled(_full(FullGradient(), backprop), scale, backprop)
    step = _required_step(method, backprop)
    if xla.is_compiling():
        gradient = row_sampled_filter_gradient(
            backprop.input,
            backprop.filter_sizes,
            backprop.out_backprop,
            backprop.arguments,
            method,
            step,
            backprop.stream,
        )
        return _scaled(gradient, scale, backprop)
    inputs = {
        "input": backprop.input,
        "filter_sizes": backprop.filter_sizes,
        "out_backprop": backprop.out_backprop,
        "step": tf.cast(step, tf.int64),
        "draws": rows_to_draw(method.share, backprop.out_backprop, backprop.arguments),
        "probability": method.probability,
        "keep_largest": method.keep_largest,
        "seed": method.seed,
        "layer": backprop.stream,
        **backprop.arguments.for_op(),
    }
    if _may_be_on_gpu(backprop.input):
        # The product is the platform's own, which knows the GPU's tensor cores.
        patches, rows = ops.approx_sample_rows(
            accumulator=xla.accumulator_dtype(backprop.input.dtype), **inputs
        )
        gradient = tf.matmul(patches, rows, transpose_a=True)
        gradient = tf.reshape(gradient, backprop.filter_sizes)
        return _scaled(gradient, scale, backprop)
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = not by_batch and backprop.input.dtype == tf.float64
    gradient = ops.approx_row_sampled_conv2d_backprop_filter(
        scale=1.0 if by_batch or scaled_after else method.scale,
        mean_over_batch=by_batch,
        **inputs,
    )
    return gradient * method.scale if scaled_after else gradient


def _may_be_on_gpu(tensor: tf.Tensor) -> bool:
    """Whether an op of a tensor may run on a GPU; a graph seldom says where."""
    if tensor.device:
        return "GPU" in tensor.device
    return bool(tf.config.list_logical_devices("GPU"))


def _required_step(method: GradientMethod, backprop: Backprop) -> tf.Tensor:
    if backprop.step is None:
        raise ValueError(
            f"step=None, but {method!r} draws its numbers from (seed, layer, step): "
            "pass the training step, for example optimizer.iterations."
        )
    return backprop.step()


def _scaled(gradient: tf.Tensor, factor: float | None, backprop: Backprop) -> tf.Tensor:
    """`factor * gradient` in the dtype of the input; `None` means 1/N."""
    gradient = tf.cast(gradient, xla.accumulator_dtype(backprop.input.dtype))
    if factor is None:
        batch = tf.shape(backprop.out_backprop)[0]
        gradient = tf.math.divide_no_nan(gradient, tf.cast(batch, gradient.dtype))
    else:
        gradient = gradient * factor
    return tf.cast(gradient, backprop.input.dtype)


def decomposed_convolution(
    input: tf.Tensor, filters: tf.Tensor, arguments: ConvArguments
) -> tf.Tensor:
    """The convolution, its dilation made from rearranged inputs."""
    spatial = slice(1, 3) if arguments.data_format == "NHWC" else slice(2, 4)
    return tf.nn.convolution(
        input,
        filters,
        padding=arguments.padding,
        data_format=arguments.data_format,
        dilations=list(arguments.dilations[spatial]),
    )
