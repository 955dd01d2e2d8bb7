"""What every layer with a choice of gradients has in common."""

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

# Keras' error for a file of a layer whose package isn't imported names the class, which
# has Keras' own name, and then prints this configuration.
_NOTE = (
    "This layer is one of the Python package tf_approxgrad: write `import "
    "tf_approxgrad` before the model is loaded. A model saved after "
    "`tf_approxgrad.strip_approximation(model)` needs no such package."
)

# Whether the layer that is being called trains. Keras passes `training` to `call`
# but not to the hook that replaces the convolution alone.
_training: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "tf_approxgrad_training", default=False
)


def warn_of_no_xla(layer: ApproximateLayer, model: str) -> None:
    """Says which layer it is that a model is trained without XLA for."""
    warnings.warn(
        f"XLA can't compile {layer.gradient_policy.method_without_xla()!r} of layer "
        f"{layer.name!r}, so {model} trains without XLA. It learns the same, but its "
        "steps take longer by what XLA saves.",
        stacklevel=3,
    )


class ApproximateLayer:
    """Base class of the layers whose gradients are made by methods.

    It goes before a layer of Keras, `stock`, in the list of base classes.

    Args:
        *args: As for `stock`.
        method: The gradient method, or its name, at every step. A schedule set by
            `approximate_gradients` or by `ApproximationCallback` takes its place.
        input_gradient: The method of the input gradient, or its name, wherever the
            filter gradient's isn't full; `None` leaves it exact.
        schedule: A schedule that picks the method by layer index and step. Set by
            `approximate_gradients`; here so that a saved model keeps it.
        layer_index: The layer's index for the schedule, from 1.
        layer_count: How many convertible layers the model had.
        converted_layers: The indices of those that were converted.
        left_out: Whether the gradient is exact, whatever `method` says. Set where
            `layers` of `approximate_gradients` doesn't name a layer that can't become
            one of `stock`, because it is of a user's own class, and by
            `strip_approximation`.
        **kwargs: As for `stock`. `groups` must be 1.

    Raises:
        ValueError: If `groups` isn't 1, or an argument isn't allowed.
    """

    stock: ClassVar[type[keras.layers.Layer]]

    # The arguments that `stock` doesn't have, and the entry of `get_config`.
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

    # Those of a layer of Keras, which this one is mixed with.
    name: str

    # What `training` was in the last call of which nothing was recorded.
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
            input_method=parse_input_gradient(input_gradient),
        )

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer.

        Keras asks where it would compile the model. It says nothing of the answer if
        that was its own idea, so the layer does, once for a method. On a GPU Keras asks
        in the first call of `compile`, even if XLA isn't wanted.
        """
        policy = self._gradient_policy
        unsupported = policy.method_without_xla()
        if unsupported is None:
            return self._supports_jit
        if unsupported != policy.warned_of_xla:
            policy.warned_of_xla = unsupported
            warn_of_no_xla(self, "the model")
        return False

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._supports_jit = value

    @property
    def method(self) -> GradientMethod:
        """The method at every step while no schedule is set."""
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

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        # Files of version 0.1 before the first release have "history".
        dropped = ("note", "history")
        arguments = {name: x for name, x in config.items() if name not in dropped}
        return super().from_config(arguments)  # type: ignore[misc]

    @contextlib.contextmanager
    def _training_is(self, training: bool | None) -> Iterator[None]:
        """Sets what `_approximates` answers while the layer is called."""
        training = self._resolved(training)
        # A backward pass that is observed isn't training.
        if training and current_observer() is None:
            self._gradient_policy.note_training()
        token = _training.set(bool(training))
        try:
            yield
        finally:
            _training.reset(token)

    def rematerialized_call(
        self, layer_call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Makes a call whose results are computed again in the backward pass.

        Keras asks for it. What is recomputed may take no keyword argument in a graph,
        so that `training` is settled here.
        """
        settled = {}
        if "training" in inspect.signature(layer_call).parameters:
            settled["training"] = self._resolved(kwargs.pop("training", None))

        @functools.wraps(layer_call)
        def call(*args: Any, **kwargs: Any) -> Any:
            before = self._training_unrecorded
            try:
                return layer_call(*args, **kwargs, **settled)
            finally:
                self._training_unrecorded = before

        rematerialized = super().rematerialized_call(call, *args, **kwargs)  # type: ignore[misc]

        @functools.wraps(layer_call)
        def settled_call(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("training", None)
            return rematerialized(*args, **kwargs)

        return settled_call

    def _resolved(self, training: bool | None) -> bool | None:
        """Whether the layer trains, also where Keras doesn't tell it.

        What `keras.remat` or a `keras.RematScope` makes of a layer around this one is
        called with nothing recorded, and again in the backward pass. By then Keras has
        forgotten whether the model trains.
        """
        if _compat.recording_is_stopped():
            self._training_unrecorded = training
        elif training is None and _compat.recording_is_possible():
            return self._training_unrecorded
        return training

    def _approximates(self) -> bool:
        """Whether the layer trains with gradients that aren't always exact."""
        return _training.get() and not self._gradient_policy.is_exact()
