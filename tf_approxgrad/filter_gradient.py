"""What each method computes in place of the exact filter gradient.

A new method needs a class in `tf_approxgrad.methods` and a function registered
here. If the class says `supports_jit`, the function must use ops that XLA knows where
`xla.is_compiling()`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from tf_approxgrad import draws, exact, ops, xla
from tf_approxgrad.backprop import (
    Backprop,
    call_op,
    factor_of,
    may_be_on_gpu,
    required_step,
    scaled,
)
from tf_approxgrad.methods import (
    FullGradient,
    GradientMethod,
    MaxGradient,
    RandomGradient,
    RowSampledGradient,
    SampledGradient,
    ZeroGradient,
)
from tf_approxgrad.row_sampling import row_sampled_filter_gradient


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
    return exact.filter_gradient(
        backprop.input,
        backprop.filter_sizes,
        backprop.out_backprop,
        backprop.arguments,
    )


@filter_gradient.register
def _zero(method: ZeroGradient, backprop: Backprop) -> tf.Tensor:
    del method
    return tf.zeros(backprop.filter_sizes, backprop.input.dtype)


@filter_gradient.register
def _random(method: RandomGradient, backprop: Backprop) -> tf.Tensor:
    return normal_numbers(method, backprop, backprop.filter_sizes, method.seed)


def normal_numbers(
    method: RandomGradient, backprop: Backprop, sizes: tf.Tensor, seed: int
) -> tf.Tensor:
    """What `random` puts in the place of a gradient.

    Args:
      method: Says the deviation.
      backprop: Says the layer, the step and the dtype.
      sizes: The gradient's shape, an int32 vector of 4 elements.
      seed: Of the numbers, from -2**63 to 2**63 - 1.
    """
    step = required_step(method, backprop)
    if xla.is_compiling():
        normals = xla.random_filter_gradient(sizes, step, seed, backprop.stream)
        return scaled(normals, method.stddev, backprop)
    by_batch = method.stddev is None
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = not by_batch and backprop.input.dtype == tf.float64
    gradient = ops.approx_random_filter_gradient(
        filter_sizes=sizes,
        out_backprop=backprop.out_backprop,
        step=tf.cast(step, tf.int64),
        seed=seed,
        layer=backprop.stream,
        stddev=1.0 if by_batch or scaled_after else method.stddev,
        mean_over_batch=by_batch,
    )
    return gradient * method.stddev if scaled_after else gradient


@filter_gradient.register
def _max(method: MaxGradient, backprop: Backprop) -> tf.Tensor:
    return _kept(method, backprop, ops.approx_conv2d_backprop_filter)


@filter_gradient.register
def _sampled(method: SampledGradient, backprop: Backprop) -> tf.Tensor:
    return _kept(method, backprop, ops.approx_sampled_conv2d_backprop_filter)


def _kept(
    method: MaxGradient | SampledGradient,
    backprop: Backprop,
    op: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """The gradient from the positions kept, by the kernel or as XLA can compile it."""
    if xla.is_compiling():
        gradient = xla.kept_filter_gradient(
            backprop.input,
            backprop.filter_sizes,
            backprop.out_backprop,
            backprop.arguments,
            draws.kept_weights(method, backprop),
        )
        return scaled(gradient, factor_of(method.scale), backprop)
    return call_op(
        op,
        method.scale,
        backprop,
        input=backprop.input,
        filter_sizes=backprop.filter_sizes,
        **draws.kept_inputs(method, backprop),
    )


@filter_gradient.register
def _row_sampled(method: RowSampledGradient, backprop: Backprop) -> tf.Tensor:
    scale = factor_of(method.scale)
    if method.share == 1:
        return scaled(_full(FullGradient(), backprop), scale, backprop)
    if xla.is_compiling():
        gradient = row_sampled_filter_gradient(
            backprop.input,
            backprop.filter_sizes,
            backprop.out_backprop,
            backprop.arguments,
            method,
            required_step(method, backprop),
            backprop.stream,
        )
        return scaled(gradient, scale, backprop)
    inputs = {
        "input": backprop.input,
        "filter_sizes": backprop.filter_sizes,
        **draws.drawn_row_inputs(method, backprop),
    }
    if may_be_on_gpu(backprop.input):
        # The product is the platform's own, which knows the GPU's tensor cores.
        patches, rows = ops.approx_sample_rows(
            out_backprop=backprop.out_backprop,
            accumulator=xla.accumulator_dtype(backprop.input.dtype),
            **inputs,
            **backprop.arguments.for_op(),
        )
        gradient = tf.matmul(patches, rows, transpose_a=True)
        gradient = tf.reshape(gradient, backprop.filter_sizes)
        return scaled(gradient, scale, backprop)
    return call_op(
        ops.approx_row_sampled_conv2d_backprop_filter, method.scale, backprop, **inputs
    )
