"""Selection of a model's layers by index, name, regular expression or predicate."""

from __future__ import annotations

import dataclasses
import difflib
import numbers
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras

from tf_approxgrad.utils.checks import as_tuple, check_integer

# A layer by index or by name; or all layers whose name matches a regular expression, or
# for which a predicate is true.
LayerReference: TypeAlias = int | str | re.Pattern[str] | Callable[[Any], bool]


@keras.saving.register_keras_serializable(package="tf_approxgrad")
@dataclasses.dataclass(frozen=True)
class NameMatches:
    """Predicate: whether a regular expression matches anywhere in a layer's name.

    It replaces a compiled regular expression, which Keras can't save.

    Args:
        pattern: The regular expression.
        flags: As for `re.compile`.
    """

    pattern: str
    flags: int = 0

    def __call__(self, layer: Any) -> bool:
        return re.search(self.pattern, layer.name, self.flags) is not None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NameMatches:
        """Builds a predicate from the result of `get_config`."""
        return cls(**config)


def parse_references(
    layers: LayerReference | Iterable[LayerReference],
) -> tuple[int | str | Callable[[Any], bool], ...]:
    """Returns the references without repetition, in a canonical order.

    Schedules of equal sets of layers are then equal.

    Args:
        layers: An index from 1, a name, a compiled regular expression or a predicate,
            or an iterable of these.

    Returns:
        Indices, names and predicates.

    Raises:
        TypeError, ValueError: If the argument is none of these, or is empty.
    """
    single = isinstance(layers, str | numbers.Integral | re.Pattern) or callable(layers)
    references: Iterable[Any] = (
        [layers]
        if single
        else as_tuple("layers", "indices, names and predicates", layers)
    )
    indices, names, predicates = set(), set(), []
    for reference in references:
        if isinstance(reference, re.Pattern):
            reference = _name_matches(reference)
        if isinstance(reference, str):
            names.add(reference)
        elif callable(reference) and not isinstance(reference, keras.layers.Layer):
            if reference not in predicates:
                predicates.append(reference)
        elif isinstance(reference, numbers.Integral):
            indices.add(check_integer("layers", reference, 1))
        else:
            raise TypeError(
                "layers must hold indices from 1, names of layers, compiled regular "
                "expressions, and functions of a layer, "
                f"got {reference!r} ({type(reference).__name__})"
            )
    if not (indices or names or predicates):
        raise ValueError(
            "layers must be None, for all layers, or hold at least one layer, "
            f"got {layers!r}"
        )
    return (*sorted(indices), *sorted(names), *predicates)


def resolve_references(
    references: Sequence[int | str | Callable[[Any], bool]],
    layers: Sequence[Any],
    owner: str,
) -> list[int]:
    """Returns the indices of the layers that the references select, in order.

    Args:
        references: The result of `parse_references`.
        layers: The model's convertible layers in order: objects with `.name`.
        owner: The owner of the argument `layers`, for messages.

    Returns:
        Layer indices from 1, without repetition.

    Raises:
        ValueError: If a reference selects no layer, or a name several.
    """
    names = [layer.name for layer in layers]
    indices: set[int] = set()
    for reference in references:
        if isinstance(reference, str):
            indices.add(_index_of_name(reference, names, owner))
        elif callable(reference):
            indices |= _indices_of_predicate(reference, layers, owner)
        elif reference > len(names):
            raise ValueError(
                f"layers of {owner} must be from 1 to {len(names)}, the number "
                f"of the model's convertible layers, got {reference}"
            )
        else:
            indices.add(reference)
    return sorted(indices)


def _name_matches(pattern: re.Pattern[Any]) -> NameMatches:
    if not isinstance(pattern.pattern, str):
        raise TypeError(
            "layers must hold regular expressions of strings, as layers' names are, "
            f"got {pattern!r}"
        )
    return NameMatches(pattern.pattern, pattern.flags)


def _index_of_name(name: str, names: list[str], owner: str) -> int:
    """Returns the index of the layer of that name, or raises."""
    numbered = (f"{i} {other!r}" for i, other in enumerate(names, start=1))
    available = f"the model's convertible layers are {', '.join(numbered)}"
    if name not in names:
        close = difflib.get_close_matches(name, dict.fromkeys(names))
        hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
        raise ValueError(
            f"layers of {owner} must be in the model, got {name!r}{hint}: {available}"
        )
    if names.count(name) > 1:
        indices = [i for i, other in enumerate(names, start=1) if other == name]
        raise ValueError(
            f"layers of {owner} must be unique in the model, got {name!r}, the name "
            f"of layers {indices}; give the index instead: {available}"
        )
    return names.index(name) + 1


def _indices_of_predicate(
    predicate: Callable[[Any], bool], layers: Sequence[Any], owner: str
) -> set[int]:
    """Returns the indices of the layers for which a predicate is true, or raises."""
    indices = {i for i, layer in enumerate(layers, start=1) if predicate(layer)}
    if not indices:
        available = ", ".join(repr(layer.name) for layer in layers)
        raise ValueError(
            f"layers of {owner} must match a layer of the model, got a predicate "
            f"that is true for none of {len(layers)}: {predicate!r}; the model's "
            f"convertible layers are {available}"
        )
    return indices
