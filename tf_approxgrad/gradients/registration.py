"""`register_filter_gradient`: methods defined by users."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient as dispatched_input
from tf_approxgrad.gradients.inputs import GradientFunction
from tf_approxgrad.methods import GradientMethod, register_method


def register_filter_gradient(
    method_class: type[GradientMethod],
    function: GradientFunction,
    *,
    input_gradient: GradientFunction | None = None,
) -> None:
    """Registers a user's own gradient method and its computation.

    The method, or its name, is then accepted wherever one of this package's is: in
    schedules, layers, `tfag.conv2d`, `tfag.fidelity`. Registering a name again replaces
    the method, as when a notebook's cell runs twice.

    Args:
        method_class: A subclass of `GradientMethod`: a frozen dataclass whose fields,
            the settings, all have defaults. Set `needs_step = True` if the result
            depends on the training step, and `supports_jit = True` if `function` uses
            only ops that XLA compiles. Register it with
            `keras.saving.register_keras_serializable` too, for saved models.
        function: Called as `function(method, inputs)` in the backward pass, eagerly or
            while a graph is traced. Returns the filter gradient, of the shape
            `inputs.filter_sizes` and the dtype of `inputs.input`. `inputs` has

            - `input`: `[N, H, W, Ci]` or `[N, Ci, H, W]`;
            - `filter_sizes`: int32 vector of 4 elements, `KH, KW, Ci, Co`;
            - `out_backprop`: gradient of the output, in the layout of `input`;
            - `arguments`: `strides`, `padding`, `explicit_paddings`, `data_format` and
              `dilations`; `arguments.for_op()` are those of TensorFlow's raw ops;
            - `step`: reads the training step, an int64 scalar; `None` if none is bound;
            - `layer`: layer index from 1, 0 outside a model.
        input_gradient: Called likewise. Returns the input gradient, of the shape and
            the dtype of `inputs.input`; `inputs.filters` is `[KH, KW, Ci, Co]`. `None`
            means that the method has no input gradient.

    Raises:
        TypeError: If an argument has the wrong type, or the class needs arguments.
        ValueError: If the class, or its name, is one of this package's.

    Example:

    >>> import dataclasses
    >>> import keras
    >>> import tensorflow as tf
    >>> import tf_approxgrad as tfag
    >>> @keras.saving.register_keras_serializable(package="my_project")
    ... @dataclasses.dataclass(frozen=True)
    ... class HalfBatchGradient(tfag.GradientMethod):
    ...     name = "half-batch"
    >>> def half_batch(method, inputs):
    ...     n = tf.shape(inputs.input)[0] // 2
    ...     return 2 * tf.raw_ops.Conv2DBackpropFilter(
    ...         input=inputs.input[:n],
    ...         filter_sizes=inputs.filter_sizes,
    ...         out_backprop=inputs.out_backprop[:n],
    ...         **inputs.arguments.for_op(),
    ...     )
    >>> tfag.register_filter_gradient(HalfBatchGradient, half_batch)
    >>> x, dy = tf.ones([4, 8, 8, 1]), tf.ones([4, 8, 8, 2])
    >>> gradient = tfag.conv2d_backprop_filter(
    ...     x, [3, 3, 1, 2], dy, 1, "SAME", method="half-batch"
    ... )
    >>> float(gradient[1, 1, 0, 0])
    256.0
    """
    if not (inspect.isclass(method_class) and issubclass(method_class, GradientMethod)):
        raise TypeError(
            f"method_class={method_class!r} must be a subclass of GradientMethod."
        )
    if not dataclasses.is_dataclass(method_class):
        raise TypeError(
            f"method_class={method_class!r} must be a dataclass: write "
            "@dataclasses.dataclass(frozen=True) before the class."
        )
    _check_callable("function", function)
    if input_gradient is not None:
        _check_callable("input_gradient", input_gradient)
    register_method(method_class)
    filter_gradient.register(method_class, function)
    if input_gradient is not None:
        dispatched_input.register(method_class, input_gradient)


def _check_callable(name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(
            f"{name}={value!r} must be a function of a method and its inputs."
        )
