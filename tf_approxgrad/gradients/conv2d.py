"""Two-dimensional convolution whose gradients are computed by chosen methods."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_approxgrad import methods
from tf_approxgrad.gradients import exact
from tf_approxgrad.gradients.attachment import attach_gradient
from tf_approxgrad.gradients.conv_arguments import ConvArguments, check_tensors
from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import (
    input_gradient as compute_input_gradient,
)
from tf_approxgrad.gradients.input_gradient import parse_input_gradient
from tf_approxgrad.gradients.inputs import GradientInputs, may_be_differentiated


def conv2d(
    input: Any,
    filters: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = None,
    *,
    method: methods.GradientMethod | str,
    input_gradient: methods.GradientMethod | str | None = None,
    step: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """`tf.nn.conv2d` whose filter gradient is computed by `method`.

    The output is exact, and so is the gradient with respect to `input`, unless
    `input_gradient` is given.

    Args:
        input: Tensor `[N, H, W, Ci]`, or `[N, Ci, H, W]` if `data_format` is `"NCHW"`;
            half, bfloat16, float32 or float64.
        filters: Tensor `[KH, KW, Ci, Co]` of the same dtype.
        strides: An integer, or 1, 2 or 4 of them, as for `tf.nn.conv2d`.
        padding: `"SAME"`, `"VALID"`, or a list of a pair `[before, after]` for each
            axis.
        data_format: `"NHWC"` or `"NCHW"`.
        dilations: An integer, or 1, 2 or 4 of them; `None` means 1.
        method: A gradient method of this package, or its name.
        input_gradient: The method, or its name, of the gradient with respect to
            `input`, used unless `method` is full. Its errors propagate to all earlier
            layers. `None` means exact.
        step: Training step, from 0, a scalar integer tensor or variable. Required by
            methods that draw random numbers.
        name: Name of the operation.

    Returns:
        A tensor of the shape and the dtype that `tf.nn.conv2d` returns.

    Raises:
        ValueError: If an argument isn't allowed.
        TypeError: If the dtype isn't supported.

    Example:

    >>> import tensorflow as tf
    >>> import tf_approxgrad as tfag
    >>> x = tf.random.normal([8, 16, 16, 3])
    >>> filters = tf.Variable(tf.random.normal([3, 3, 3, 4]))
    >>> with tf.GradientTape() as tape:
    ...     y = tfag.conv2d(x, filters, 1, "SAME", method=tfag.MaxGradient(k=2))
    ...     loss = tf.reduce_mean(y**2)
    >>> tape.gradient(loss, filters).shape
    TensorShape([3, 3, 3, 4])
    """
    method = methods.get(method)
    input_method = parse_input_gradient(input_gradient)
    if input_method is None or isinstance(method, methods.FullGradient):
        input_method = methods.FullGradient()
    arguments = ConvArguments.parse(strides, padding, data_format, dilations)
    input = tf.convert_to_tensor(input, name="input")
    filters = tf.convert_to_tensor(filters, name="filters")
    check_tensors(input, filters.shape, arguments)
    with tf.name_scope(name or "approx_conv2d"):
        return convolve(
            input,
            filters,
            arguments,
            functools.partial(filter_gradient, method),
            functools.partial(compute_input_gradient, input_method),
            _checked_step((method, input_method), step),
        )


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = None,
    *,
    method: methods.GradientMethod | str,
    step: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """Computes the filter gradient of a convolution by `method`.

    Args:
        input: Tensor `[N, H, W, Ci]`, or `[N, Ci, H, W]` if `data_format` is `"NCHW"`;
            half, bfloat16, float32 or float64.
        filter_sizes: The filters' shape, `KH, KW, Ci, Co`; a list or an int32 vector.
        out_backprop: Gradient of the convolution's output, `[N, Ho, Wo, Co]` or
            `[N, Co, Ho, Wo]`, of the dtype of `input`.
        strides: As for `conv2d`.
        padding: As for `conv2d`.
        data_format: `"NHWC"` or `"NCHW"`.
        dilations: As for `conv2d`.
        method: A gradient method of this package, or its name.
        step: Training step, from 0. Required by methods that draw random numbers.
        name: Name of the operation.

    Returns:
        A tensor of the shape `filter_sizes` and the dtype of `input`.

    Raises:
        ValueError: If an argument isn't allowed.
        TypeError: If the dtype isn't supported.
        tf.errors.InvalidArgumentError: If sizes known only at run time don't match.

    Example:

    >>> import tensorflow as tf
    >>> import tf_approxgrad as tfag
    >>> x = tf.random.normal([8, 16, 16, 3])
    >>> dy = tf.random.normal([8, 16, 16, 4])
    >>> tfag.conv2d_backprop_filter(
    ...     x, [3, 3, 3, 4], dy, 1, "SAME", method=tfag.MaxGradient()
    ... ).shape
    TensorShape([3, 3, 3, 4])
    """
    method = methods.get(method)
    arguments = ConvArguments.parse(strides, padding, data_format, dilations)
    input = tf.convert_to_tensor(input, name="input")
    out_backprop = tf.convert_to_tensor(out_backprop, name="out_backprop")
    filter_sizes = tf.convert_to_tensor(filter_sizes, tf.int32, name="filter_sizes")
    if filter_sizes.shape.rank != 1:
        raise ValueError(
            f"filter_sizes has shape={tuple(filter_sizes.shape)}, but it must be a "
            "vector of 4 elements."
        )
    known = tf.get_static_value(filter_sizes)
    static_sizes = (
        [None] * (filter_sizes.shape[0] or 4) if known is None else known.tolist()
    )
    check_tensors(input, static_sizes, arguments, out_backprop)
    with tf.name_scope(name or "approx_conv2d_backprop_filter"):
        return filter_gradient(
            method,
            GradientInputs(
                input,
                filter_sizes,
                out_backprop,
                arguments,
                **_checked_step((method,), step),
            ),
        )


def convolve(
    input: tf.Tensor,
    filters: tf.Tensor,
    arguments: ConvArguments,
    filter_gradient: Callable[[GradientInputs], tf.Tensor],
    input_gradient: Callable[[GradientInputs], tf.Tensor],
    read: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """TensorFlow's convolution with the given functions as its gradients.

    `read` are the tensors of `GradientInputs` that are read in the forward pass.
    """
    needs_input_gradient = may_be_differentiated(input)

    def gradients(
        out_backprop: tf.Tensor, tensors: Sequence[tf.Tensor]
    ) -> list[tf.Tensor | None]:
        input, filters, *values = tensors
        inputs = GradientInputs(
            input,
            tf.shape(filters),
            out_backprop,
            arguments,
            filters,
            **dict(zip(read, values, strict=True)),
        )
        of_input = input_gradient(inputs) if needs_input_gradient else None
        return [of_input, filter_gradient(inputs)]

    output = exact.convolution(input, filters, arguments)
    return attach_gradient(output, [input, filters, *read.values()], gradients)


def _checked_step(
    used: tuple[methods.GradientMethod, ...], step: Any
) -> dict[str, tf.Tensor]:
    """The step as a tensor of `GradientInputs`, if there is one."""
    if step is None:
        for method in used:
            if method.needs_step:
                raise ValueError(
                    f"step=None, but {method!r} draws its numbers from (seed, layer, "
                    "step): pass the training step, for example optimizer.iterations."
                )
        return {}
    return {"step": tf.convert_to_tensor(step)}
