"""`ApproxConv2D`, a `keras.layers.Conv2D` with a choice of filter gradient."""

from __future__ import annotations

import contextvars
from typing import Any

import keras
import tensorflow as tf

from tf_approxgrad import methods
from tf_approxgrad.arguments import ConvArguments
from tf_approxgrad.assignment import Assignment
from tf_approxgrad.convolution import convolve
from tf_approxgrad.methods import GradientMethod, MaxGradient
from tf_approxgrad.schedules import Schedule

# Whether the layer that is being called trains. Keras passes `training` to `call`
# but not to `convolution_op`, the hook that replaces the convolution alone.
_training: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "tf_approxgrad_training", default=False
)


@keras.saving.register_keras_serializable(package="tf_approxgrad", name="ApproxConv2D")
class ApproxConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose filter gradient is made by `method`.

    The output and the input gradient are those of `keras.layers.Conv2D`, and so is
    everything where `training` isn't true: inference, evaluation and export run
    TensorFlow's own ops alone.

    >>> import keras
    >>> import tf_approxgrad as tfag
    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfag.ApproxConv2D(8, 3, activation="relu", method=tfag.MaxGradient(k=2)),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     keras.layers.Dense(10),
    ... ])
    >>> model.layers[0].method
    MaxGradient(k=2, scale='batch')

    Args:
      *args: As for `keras.layers.Conv2D`.
      method: The gradient method, or its name, at every step. A schedule set by
        `approximate_gradients` or by `ApproximationCallback` takes its place.
      schedule: A schedule that picks the method by layer index and step. Set by
        `approximate_gradients`; here so that a saved model keeps it.
      layer_index: The layer's index for the schedule, from 1.
      **kwargs: As for `keras.layers.Conv2D`. `groups` must be 1.

    Raises:
      ValueError: If `groups` isn't 1, or an argument isn't allowed.
    """

    def __init__(
        self,
        *args: Any,
        method: GradientMethod | str | dict[str, Any] = MaxGradient(),  # noqa: B008
        schedule: Schedule | dict[str, Any] | None = None,
        layer_index: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.groups != 1:
            raise ValueError(
                f"layer {self.name!r} has groups={self.groups}, but ApproxConv2D "
                "supports groups=1 only; use keras.layers.Conv2D there."
            )
        restored: Schedule | None = (
            keras.saving.deserialize_keras_object(schedule)
            if isinstance(schedule, dict)
            else schedule
        )
        if (restored is None) != (layer_index == 0):
            raise ValueError(
                f"layer {self.name!r} has schedule={schedule!r} and "
                f"layer_index={layer_index}, but a schedule goes with a layer index of "
                "at least 1, and no schedule with the layer index 0."
            )
        self._assignment = Assignment(
            self.name, methods.get(method), restored, layer_index
        )

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer. Keras asks when the model is compiled."""
        return self._supports_jit and self._assignment.supports_jit()

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._supports_jit = value

    @property
    def method(self) -> GradientMethod:
        """The method at every step while no schedule is set."""
        return self._assignment.method

    @property
    def assignment(self) -> Assignment:
        """The layer's schedule, index and step."""
        return self._assignment

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        token = _training.set(bool(training))
        try:
            return super().call(inputs)
        finally:
            _training.reset(token)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if not _training.get() or self._assignment.is_exact():
            return super().convolution_op(inputs, kernel)
        return convolve(
            keras.ops.convert_to_tensor(inputs),
            # Keras leaves a variable a variable, which tf.custom_gradient refuses in
            # eager mode.
            tf.convert_to_tensor(keras.ops.convert_to_tensor(kernel)),
            ConvArguments.parse(
                self.strides,
                self.padding.upper(),
                "NHWC" if self.data_format == "channels_last" else "NCHW",
                self.dilation_rate,
            ),
            self._assignment.filter_gradient,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        schedule = self._assignment.schedule
        config["method"] = keras.saving.serialize_keras_object(self.method)
        if schedule is not None:
            config["schedule"] = keras.saving.serialize_keras_object(schedule)
            config["layer_index"] = self._assignment.index
        return config


# Files of weights are keyed by the class's name. With Keras' own name, those of a model
# load into the converted one, and the other way round.
ApproxConv2D.__name__ = "Conv2D"
