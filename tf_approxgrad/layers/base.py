"""The base class of the layers whose gradients are computed by methods."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import keras

from tf_approxgrad import _compat, methods
from tf_approxgrad.gradients.input_gradient import parse_input_gradient
from tf_approxgrad.gradients.observer import current_observer
from tf_approxgrad.layers.policy import LayerPolicy
from tf_approxgrad.methods import GradientMethod
from tf_approxgrad.schedules import Schedule

# Stored in the configuration, which Keras prints in its error for a saved layer whose
# package isn't imported. The class that the error names is Keras' own.
_NOTE = (
    "This layer is one of the Python package tf_approxgrad: write `import "
    "tf_approxgrad` before the model is loaded. A model saved after "
    "`tf_approxgrad.strip_approximation(model)` needs no such package."
)

# Whether the layer being called is in training. Keras passes `training` to `call` but
# not to `convolution_op`.
_training: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "tf_approxgrad_training", default=False
)


def warn_of_no_xla(layer: ApproximateLayer, model: str) -> None:
    """Warns that a layer's method keeps a model from being compiled by XLA."""
    warnings.warn(
        f"XLA can't compile {layer.gradient_policy.method_without_xla()!r} of layer "
        f"{layer.name!r}, so {model} trains without XLA. Results are the same; steps "
        "lose XLA's speed-up.",
        stacklevel=3,
    )


class ApproximateLayer(_compat.SavesUntracked):
    """Base class of the layers whose gradients are computed by methods.

    A mixin, placed before a Keras layer class, `stock`, in the list of bases.

    Args:
        *args: As for `stock`.
        method: The gradient method, or its name, at every step. A schedule set by
            `approximate_gradients` or by `ApproximationCallback` overrides it.
        input_gradient: The method of the input gradient, or its name, wherever the
            filter gradient's isn't full; `None` means exact.
        schedule: Schedule that picks the method by layer index and step. Set by
            `approximate_gradients` and restored from saved models.
        layer_index: Layer index for the schedule, from 1.
        layer_count: Number of convertible layers in the model.
        converted_layers: Indices of the converted ones.
        left_out: Whether the gradient is exact whatever `method` is. Set for layers of
            user-defined subclasses, which can't be replaced by `stock`, where
            `approximate_gradients` excludes them or `strip_approximation` is called.
        **kwargs: As for `stock`. `groups` must be 1.

    Raises:
        ValueError: If `groups` isn't 1, or an argument isn't allowed.
    """

    stock: ClassVar[type[keras.layers.Layer]]

    # Arguments that `stock` doesn't have, and the note in the configuration.
    OWN_ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "note",
        "method",
        "schedule",
        "layer_index",
        "layer_count",
        "converted_layers",
        "left_out",
        "input_gradient",
    )

    # Of the Keras layer that this class is mixed with.
    name: str
    trainable_weights: list[Any]

    # The value of `training` in the last call without recording.
    _training_unrecorded: bool | None = None

    def __init__(
        self,
        *args: Any,
        method: GradientMethod | str | dict[str, Any],
        input_gradient: GradientMethod | str | dict[str, Any] | None = None,
        schedule: Schedule | dict[str, Any] | None = None,
        layer_index: int = 0,
        layer_count: int = 0,
        converted_layers: Sequence[int] = (),
        left_out: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self, "groups", 1) != 1:
            raise ValueError(
                f"layer {self.name!r} has groups={self.groups}, but "  # type: ignore[attr-defined]
                f"{type(self).__qualname__} supports groups=1 only; use "
                f"keras.layers.{self.stock.__name__} there."
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
        self._gradient_policy = LayerPolicy(
            self.name,
            methods.get(method),
            restored,
            layer_index,
            count=layer_count,
            converted=tuple(converted_layers),
            left_out=left_out,
            restored=restored is not None,
            input_method=parse_input_gradient(input_gradient),
        )

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer.

        Keras reads this before it compiles a model by XLA, and is silent about the
        result if `jit_compile` is "auto". So the layer warns, once per method. On a GPU
        Keras reads this in the first call of `compile` whatever `jit_compile` is.
        """
        policy = self._gradient_policy
        unsupported = policy.method_without_xla()
        if unsupported is None:
            # A class that is assigned in place finds Keras' own attribute.
            supported: bool = vars(self)["supports_jit"]
            return supported
        if unsupported != policy.warned_of_xla:
            policy.warned_of_xla = unsupported
            warn_of_no_xla(self, "the model")
        return False

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        vars(self)["supports_jit"] = value

    @property
    def method(self) -> GradientMethod:
        """The method at every step if no schedule is set."""
        return self._gradient_policy.method

    @property
    def input_gradient(self) -> GradientMethod | None:
        """The method of the input gradient where the filter gradient's isn't full."""
        return self._gradient_policy.input_method

    @property
    def gradient_policy(self) -> LayerPolicy:
        """The layer's schedule, index and step."""
        return self._gradient_policy

    def get_config(self) -> dict[str, Any]:
        policy = self._gradient_policy
        config = {
            "note": _NOTE,
            **super().get_config(),  # type: ignore[misc]
            "method": keras.saving.serialize_keras_object(self.method),
        }
        if self.input_gradient is not None:
            config["input_gradient"] = keras.saving.serialize_keras_object(
                self.input_gradient
            )
        if policy.schedule is not None:
            config["schedule"] = keras.saving.serialize_keras_object(policy.schedule)
            config["layer_index"] = policy.index
            config["layer_count"] = policy.count
            config["converted_layers"] = list(policy.converted)
        if policy.left_out:
            config["left_out"] = True
        return config

    def untracked_variables(self) -> dict[str, Any]:
        variable = self._gradient_policy.step_variable()
        return {} if variable is None else {"approximation_step": variable}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        # Files saved before the first release contain "history".
        dropped = ("note", "history")
        arguments = {name: x for name, x in config.items() if name not in dropped}
        return super().from_config(arguments)  # type: ignore[misc]

    @contextlib.contextmanager
    def _training_is(self, training: bool | None) -> Iterator[None]:
        """Sets the result of `_makes_gradients` during a call of the layer."""
        training = self._resolved(training)
        # An observed backward pass isn't training.
        if current_observer() is None:
            self._gradient_policy.note_call(training)
        token = _training.set(bool(training))
        try:
            yield
        finally:
            _training.reset(token)

    def rematerialized_call(
        self, layer_call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Wraps a call of the layer for recomputation in the backward pass.

        Called by Keras. In a graph, recomputed functions can't take keyword arguments,
        so `training` is resolved before.
        """
        resolved = {}
        if "training" in inspect.signature(layer_call).parameters:
            resolved["training"] = self._resolved(kwargs.pop("training", None))

        @functools.wraps(layer_call)
        def call(*args: Any, **kwargs: Any) -> Any:
            before = self._training_unrecorded
            try:
                return layer_call(*args, **kwargs, **resolved)
            finally:
                self._training_unrecorded = before

        rematerialized = super().rematerialized_call(call, *args, **kwargs)  # type: ignore[misc]

        @functools.wraps(layer_call)
        def resolved_call(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("training", None)
            return rematerialized(*args, **kwargs)

        return resolved_call

    def _resolved(self, training: bool | None) -> bool | None:
        """The value of `training`, also where Keras doesn't pass it.

        A layer under `keras.remat` or a `keras.RematScope` is first called without
        recording, and again in the backward pass, where Keras no longer passes
        `training` to the layers inside it.
        """
        if _compat.recording_is_stopped():
            self._training_unrecorded = training
        elif training is None and _compat.recording_is_possible():
            return self._training_unrecorded
        return training

    def _makes_gradients(self) -> bool:
        """Whether the layer is in training and its gradients aren't always full."""
        return _training.get() and not self._gradient_policy.is_full()
