"""The schedule that does the same at every step, on the layers that the user names."""

import dataclasses
import difflib
import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras

from tf_approxgrad import methods
from tf_approxgrad.checks import as_tuple, check_integer
from tf_approxgrad.methods import FullGradient, GradientMethod, MethodLike
from tf_approxgrad.schedule_arguments import check_cell, layer_names
from tf_approxgrad.schedule_base import Schedule

# A layer by index, by name, or those for which a function of the layer is true.
LayerReference: TypeAlias = int | str | Callable[[Any], bool]


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True, init=False)
class Constant(Schedule):
    """Approximates the same layers at every step: all of them, or some.

    Args:
        method: the method, as `tf_approxgrad.methods.get` takes it.
        layers: which layers: None for all; or an index from 1, a layer's name, or a
            predicate, which is a function of the layer that returns a bool; or a list
            of these. Names and predicates mean something for a certain model only:
            `resolve` turns them into indices. `approximate_gradients` and the
            callback call it.

    Raises:
        TypeError, ValueError: if an argument isn't allowed.

    Example:

    >>> import tf_approxgrad as tfag
    >>> schedule = tfag.Constant("max", layers=[1, 3])
    >>> [schedule(layer, step=0).label for layer in (1, 2, 3)]
    ['max', 'full', 'max']
    """

    method: GradientMethod
    layers: tuple[LayerReference, ...] | None

    def __init__(
        self,
        method: MethodLike,
        layers: LayerReference | Iterable[LayerReference] | None = None,
    ) -> None:
        self._set(
            method=methods.get(method),
            layers=None if layers is None else _parse_references(layers),
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
        names = layer_names(layers)
        if self.layers is None:
            return self
        indices: list[LayerReference] = []
        for reference in self.layers:
            if isinstance(reference, str):
                indices.append(_index_of_name(reference, names))
            elif callable(reference):
                indices += _indices_of_predicate(reference, layers)
            elif reference > len(names):
                raise ValueError(
                    f"layers of Constant must be from 1 to {len(names)}, the number "
                    f"of the model's convertible layers, got {reference}"
                )
            else:
                indices.append(reference)
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


def _parse_references(
    layers: LayerReference | Iterable[LayerReference],
) -> tuple[LayerReference, ...]:
    """Returns the references without repetition, in an order that is always the same.

    The order has no meaning, so equal sets of layers make equal schedules.
    """
    single = isinstance(layers, str | numbers.Integral) or callable(layers)
    references: Iterable[Any] = (
        [layers]
        if single
        else as_tuple("layers", "indices, names and predicates", layers)
    )
    indices, names, predicates = set(), set(), []
    for reference in references:
        if isinstance(reference, str):
            names.add(reference)
        elif callable(reference) and not isinstance(reference, keras.layers.Layer):
            if reference not in predicates:
                predicates.append(reference)
        elif isinstance(reference, numbers.Integral):
            indices.add(check_integer("layers", reference, 1))
        else:
            raise TypeError(
                "layers must hold indices from 1, names of layers, and functions of "
                f"a layer, got {reference!r} ({type(reference).__name__})"
            )
    if not (indices or names or predicates):
        raise ValueError(
            "layers must be None, for all layers, or hold at least one layer, "
            f"got {layers!r}"
        )
    return (*sorted(indices), *sorted(names), *predicates)


def _index_of_name(name: str, names: list[str]) -> int:
    """Returns the index of the layer with a name, or raises."""
    available = f"the model's convertible layers are {', '.join(map(repr, names))}"
    if name not in names:
        close = difflib.get_close_matches(name, names)
        hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
        raise ValueError(
            f"layers of Constant must be in the model, got {name!r}{hint}: {available}"
        )
    if names.count(name) > 1:
        indices = [i for i, other in enumerate(names, start=1) if other == name]
        raise ValueError(
            f"layers of Constant must be unique in the model, got {name!r}, the name "
            f"of layers {indices}; give the index instead: {available}"
        )
    return names.index(name) + 1


def _indices_of_predicate(
    predicate: Callable[[Any], bool], layers: Sequence[Any]
) -> list[int]:
    """Returns the indices of the layers for which a predicate is true, or raises."""
    indices = [i for i, layer in enumerate(layers, start=1) if predicate(layer)]
    if not indices:
        raise ValueError(
            "layers of Constant must match a layer of the model, got a predicate "
            f"that is true for none of {len(layers)}: {predicate!r}"
        )
    return indices


def _can_be_saved(function: Callable[..., Any]) -> bool:
    """Whether Keras can save and load a function, or an object that can be called."""
    if inspect.isroutine(function):
        registered: Any = function
    elif hasattr(function, "from_config"):
        registered = type(function)
    else:
        return False
    name = keras.saving.get_registered_name(registered)
    return keras.saving.get_registered_object(name) is registered
