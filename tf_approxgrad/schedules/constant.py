"""The schedule of one method at every step, on all layers or on chosen ones."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from tf_approxgrad import methods
from tf_approxgrad.methods import FullGradient, GradientMethod, MethodLike
from tf_approxgrad.schedules.arguments import check_cell, layer_names
from tf_approxgrad.schedules.base import Schedule
from tf_approxgrad.schedules.layer_selectors import (
    LayerReference,
    parse_references,
    resolve_references,
)


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Constant(Schedule):
    """Approximates all layers, or some, at every step.

    Args:
        method: A gradient method, or its name.
        layers: The approximated layers. None means all; else an index from 1, a layer's
            name, a compiled regular expression to search for in the names, a predicate
            (a function of the layer that returns a bool), or a list of these. All but
            indices depend on the model: `resolve`, which `approximate_gradients` and
            the callback call, replaces them by indices.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Constant("max", layers=[1, 3])
    >>> [schedule(layer, step=0).label for layer in (1, 2, 3)]
    ['max', 'full', 'max']
    """

    method: GradientMethod
    layers: tuple[int | str | Callable[[Any], bool], ...] | None

    def __init__(
        self,
        method: MethodLike,
        layers: LayerReference | Iterable[LayerReference] | None = None,
    ) -> None:
        self._set(
            method=methods.get(method),
            layers=None if layers is None else parse_references(layers),
        )

    def __call__(self, layer: int, step: int, replica: int = 0) -> GradientMethod:
        layer, _ = check_cell(layer, step, replica)
        unresolved = [ref for ref in self.layers or () if not isinstance(ref, int)]
        if unresolved:
            raise ValueError(
                "layers of Constant must be indices before the schedule is called, "
                f"got {unresolved[0]!r}: call schedule.resolve(layers) with the "
                "model's convertible layers, which turns names and predicates into "
                "indices"
            )
        chosen = self.layers is None or layer in self.layers
        return self.method if chosen else FullGradient()

    def resolve(self, layers: Sequence[Any]) -> Schedule:
        layer_names(layers)
        if self.layers is None:
            return self
        indices = resolve_references(self.layers, layers, owner="Constant")
        return Constant(self.method, indices)

    def get_config(self) -> dict[str, Any]:
        for reference in self.layers or ():
            if callable(reference) and not _can_be_saved(reference):
                raise ValueError(
                    "layers of Constant must be saved as indices, names or "
                    "predicates registered with "
                    "keras.saving.register_keras_serializable (an object with "
                    f"get_config and from_config), got {reference!r}: register it, "
                    "or resolve the schedule first"
                )
        return super().get_config()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Constant":
        layers = keras.saving.deserialize_keras_object(config.get("layers"))
        return cls(**{**config, "layers": layers})


def _can_be_saved(function: Callable[..., Any]) -> bool:
    """Whether Keras can save and load a function or a callable object."""
    if inspect.isroutine(function):
        registered: Any = function
    elif hasattr(function, "from_config"):
        registered = type(function)
    else:
        return False
    name = keras.saving.get_registered_name(registered)
    return keras.saving.get_registered_object(name) is registered
