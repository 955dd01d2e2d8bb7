"""`register_filter_gradient`: methods defined by users."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_approxgrad.gradients.filter_gradient import filter_gradient
from tf_approxgrad.gradients.input_gradient import input_gradient as dispatched_input
from tf_approxgrad.gradients.inputs import GradientFunction, GradientInputs
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
            - `step`: training step, an integer scalar; `None` if `needs_step` is false;
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
    parameters = vars(method_class).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise TypeError(
            f"method_class={method_class!r} must be a frozen dataclass: write "
            "@dataclasses.dataclass(frozen=True) before the class."
        )
    _check_callable("function", function)
    if input_gradient is not None:
        _check_callable("input_gradient", input_gradient)
    register_method(method_class)
    filter_gradient.register(
        method_class,
        _checked("filter gradient", function, lambda inputs: inputs.filter_sizes),
    )
    # The function of no class raises.
    of_input = dispatched_input.dispatch(object)
    if input_gradient is not None:
        of_input = _checked(
            "input gradient", input_gradient, lambda inputs: tf.shape(inputs.input)
        )
    dispatched_input.register(method_class, of_input)


def _checked(
    what: str,
    function: GradientFunction,
    sizes: Callable[[GradientInputs], tf.Tensor],
) -> GradientFunction:
    """A user's function, whose result is refused if its dtype or shape is wrong."""

    @functools.wraps(function)
    def checked(method: GradientMethod, inputs: GradientInputs) -> tf.Tensor:
        gradient = tf.convert_to_tensor(function(method, inputs))
        known = tf.get_static_value(sizes(inputs), partial=True)
        expected = tf.TensorShape(None if known is None else list(known))
        dtype = inputs.input.dtype
        if gradient.dtype != dtype or not expected.is_compatible_with(gradient.shape):
            raise ValueError(
                f"the {what} of {method!r} must have the shape {expected} and the "
                f"dtype {dtype.name}, got {gradient.shape} and {gradient.dtype.name}."
            )
        return gradient

    return checked


def _check_callable(name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(
            f"{name}={value!r} must be a function of a method and its inputs."
        )
