"""The filter gradient of each method.

Each function takes a method and the `GradientInputs` of a convolution. Methods with
`supports_jit` use ops that XLA compiles where `xla.is_compiling()`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from tf_approxgrad.gradients import exact, fast_exact, op_inputs, op_library, tiles
from tf_approxgrad.gradients.conv_arguments import accumulator_dtype
from tf_approxgrad.gradients.inputs import (
    GradientInputs,
    call_op,
    drawing_step,
    factor_of,
    may_be_on_gpu,
    required_step,
    scaled,
)
from tf_approxgrad.gradients.xla import context as xla
from tf_approxgrad.gradients.xla import philox, positions
from tf_approxgrad.gradients.xla.rows import row_sampled_filter_gradient
from tf_approxgrad.methods import (
    ExactGradient,
    FullGradient,
    GradientMethod,
    MaxGradient,
    RandomGradient,
    RowSampledGradient,
    SampledGradient,
    TileSampledGradient,
    WinogradGradient,
    ZeroGradient,
)


@functools.singledispatch
def filter_gradient(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
    """Computes the filter gradient of a convolution by `method`.

    Args:
        method: Gradient method.
        inputs: Input, output gradient and geometry of the convolution.

    Returns:
        A tensor of the shape `inputs.filter_sizes` and the dtype of the input.

    Raises:
        TypeError: If no function is registered for the method.
    """
    del inputs
    raise TypeError(
        f"method={method!r} has no filter gradient: register a function with "
        f"tf_approxgrad.register_filter_gradient({type(method).__name__}, function)."
    )


@filter_gradient.register
def _full(method: FullGradient, inputs: GradientInputs) -> tf.Tensor:
    del method
    return exact.filter_gradient(
        inputs.input,
        inputs.filter_sizes,
        inputs.out_backprop,
        inputs.arguments,
    )


filter_gradient.register(ExactGradient, fast_exact.filter_gradient)
filter_gradient.register(WinogradGradient, fast_exact.filter_gradient)


filter_gradient.register(TileSampledGradient, tiles.filter_gradient)


@filter_gradient.register
def _zero(method: ZeroGradient, inputs: GradientInputs) -> tf.Tensor:
    del method
    return tf.zeros(inputs.filter_sizes, inputs.input.dtype)


@filter_gradient.register
def _random(method: RandomGradient, inputs: GradientInputs) -> tf.Tensor:
    return normal_numbers(method, inputs, inputs.filter_sizes, method.seed)


def normal_numbers(
    method: RandomGradient, inputs: GradientInputs, sizes: tf.Tensor, seed: int
) -> tf.Tensor:
    """Normal numbers in place of a gradient, for `random`.

    Args:
        method: The method, for its standard deviation.
        inputs: Inputs of the gradient, for layer, step and dtype.
        sizes: The gradient's shape, an int32 vector of 4 elements.
        seed: Seed of the numbers, from -2**63 to 2**63 - 1.

    Returns:
        A tensor of the shape `sizes` and the dtype of the input.
    """
    step = required_step(method, inputs)
    if xla.is_compiling():
        normals = philox.random_filter_gradient(sizes, step, seed, inputs.stream)
        return scaled(normals, method.stddev, inputs)
    by_batch = method.stddev is None
    # The op's attribute is a float32, too coarse for a float64 gradient.
    scaled_after = not by_batch and inputs.input.dtype == tf.float64
    gradient = op_library.approx_random_filter_gradient(
        filter_sizes=sizes,
        out_backprop=inputs.out_backprop,
        step=tf.cast(step, tf.int64),
        seed=seed,
        layer=inputs.stream,
        stddev=1.0 if by_batch or scaled_after else method.stddev,
        mean_over_batch=by_batch,
    )
    return gradient * method.stddev if scaled_after else gradient


@filter_gradient.register
def _max(method: MaxGradient, inputs: GradientInputs) -> tf.Tensor:
    return _from_positions(method, inputs, op_library.approx_conv2d_backprop_filter)


@filter_gradient.register
def _sampled(method: SampledGradient, inputs: GradientInputs) -> tf.Tensor:
    return _from_positions(
        method, inputs, op_library.approx_sampled_conv2d_backprop_filter
    )


def _from_positions(
    method: MaxGradient | SampledGradient,
    inputs: GradientInputs,
    op: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """The gradient from the kept positions, by the kernel or by TensorFlow's ops."""
    if xla.is_compiling():
        gradient = positions.position_filter_gradient(
            inputs.input,
            inputs.filter_sizes,
            inputs.out_backprop,
            inputs.arguments,
            positions.position_weights(method, inputs),
        )
        return scaled(gradient, factor_of(method.scale), inputs)
    return call_op(
        op,
        method.scale,
        inputs,
        input=inputs.input,
        filter_sizes=inputs.filter_sizes,
        **op_inputs.position_inputs(method, inputs),
    )


@filter_gradient.register
def _row_sampled(method: RowSampledGradient, inputs: GradientInputs) -> tf.Tensor:
    scale = factor_of(method.scale)
    if method.share == 1:
        return scaled(_full(FullGradient(), inputs), scale, inputs)
    if xla.is_compiling():
        gradient = row_sampled_filter_gradient(
            inputs.input,
            inputs.filter_sizes,
            inputs.out_backprop,
            inputs.arguments,
            method,
            drawing_step(method, inputs),
            inputs.stream,
        )
        return scaled(gradient, scale, inputs)
    arguments = {
        "input": inputs.input,
        "filter_sizes": inputs.filter_sizes,
        **op_inputs.row_inputs(method, inputs),
    }
    if may_be_on_gpu(inputs.input):
        # TensorFlow's matrix product uses the GPU's tensor cores.
        patches, rows = op_library.approx_sample_rows(
            out_backprop=inputs.out_backprop,
            accumulator=accumulator_dtype(inputs.input.dtype),
            **arguments,
            **inputs.arguments.for_op(),
        )
        gradient = tf.matmul(patches, rows, transpose_a=True)
        gradient = tf.reshape(gradient, inputs.filter_sizes)
        return scaled(gradient, scale, inputs)
    return call_op(
        op_library.approx_row_sampled_conv2d_backprop_filter,
        method.scale,
        inputs,
        **arguments,
    )
