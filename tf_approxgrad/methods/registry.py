"""Gradient methods by name."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeAlias

import keras

from tf_approxgrad.methods.base import GradientMethod
from tf_approxgrad.methods.exact import (
    ExactGradient,
    FullGradient,
    WinogradGradient,
)
from tf_approxgrad.methods.paper import MaxGradient, RandomGradient, ZeroGradient
from tf_approxgrad.methods.row_sampled import RowSampledGradient
from tf_approxgrad.methods.sampled import SampledGradient
from tf_approxgrad.methods.tile_sampled import TileSampledGradient
from tf_approxgrad.utils.checks import as_tuple

# The types of an argument `method`: see `get`.
MethodLike: TypeAlias = GradientMethod | str | dict[str, Any]

_OWN: dict[str, GradientMethod] = {
    method.name: method
    for method in (
        FullGradient(),
        ExactGradient(),
        WinogradGradient(),
        ZeroGradient(),
        RandomGradient(),
        MaxGradient(),
        SampledGradient(),
        RowSampledGradient(),
        TileSampledGradient(),
    )
}
_USERS: dict[str, GradientMethod] = {}


def register_method(method_class: type[GradientMethod]) -> None:
    """Adds a user's method to those that `get` finds by name.

    Args:
        method_class: A class whose constructor needs no argument. It replaces a class
            registered under the same name.

    Raises:
        TypeError: If the constructor needs arguments.
        ValueError: If the class, or its name, is one of this package's.
    """
    if method_class in map(type, _OWN.values()):
        raise ValueError(
            f"method_class={method_class!r} must be a class of your own, not one of "
            "tf_approxgrad's"
        )
    try:
        method = method_class()
    except TypeError as error:
        raise TypeError(
            f"method_class={method_class!r} must have a default for each setting, and "
            f"a name: {error}"
        ) from error
    if not isinstance(method.name, str):
        raise TypeError(
            f"the name of {method_class!r} must be a string, got {method.name!r}"
        )
    if method.name in _OWN:
        raise ValueError(
            f"the name of {method_class!r} must not be that of one of tf_approxgrad's "
            f"methods, got {method.name!r}"
        )
    _USERS[method.name] = method


def get(identifier: MethodLike) -> GradientMethod:
    """Returns a method, as `keras.losses.get` returns a loss.

    Args:
        identifier: A method, which is returned unchanged; or a name ("full", "exact",
            "winograd", "zero", "random", "max", "sampled", "row-sampled",
            "tile-sampled", or one registered by `register_filter_gradient`), which
            means the method with its default settings; or the dict from
            `keras.saving.serialize_keras_object(method)`.

    Returns:
        The method.

    Raises:
        TypeError: If the identifier is none of these types.
        ValueError: If the name is unknown, or the dict doesn't describe a method.

    Example:

    >>> from tf_approxgrad import methods
    >>> methods.get("max")
    MaxGradient(k=1, scale='batch')
    """
    return parse(identifier, "method must be")


def get_all(
    name: str, identifiers: MethodLike | Iterable[MethodLike]
) -> list[GradientMethod]:
    """The distinct methods of an argument that takes one method or several.

    Args:
        name: The argument's name.
        identifiers: A method as for `get`, or an iterable of these.
    """
    if isinstance(identifiers, GradientMethod | str | dict):
        identifiers = [identifiers]
    several = as_tuple(name, "gradient methods", identifiers)
    return list(dict.fromkeys(map(get, several)))


def by_share(methods: Iterable[GradientMethod]) -> list[list[GradientMethod]]:
    """Methods that differ by the share alone, together, by rising share."""
    families: dict[GradientMethod, list[GradientMethod]] = {}
    for method in methods:
        key = method
        if isinstance(method, RowSampledGradient | TileSampledGradient):
            key = dataclasses.replace(method, share=1.0)
        families.setdefault(key, []).append(method)
    for family in families.values():
        family.sort(key=lambda method: getattr(method, "share", 0.0))
    return list(families.values())


def parse(identifier: MethodLike, requirement: str) -> GradientMethod:
    """`get`, for an argument of another name.

    Args:
        identifier: As for `get`.
        requirement: Beginning of the messages, such as "input_gradient must be None
            or".

    Returns:
        The method.

    Raises:
        TypeError, ValueError: As for `get`.
    """
    if isinstance(identifier, GradientMethod):
        return identifier
    known = _OWN | _USERS
    message = (
        f"{requirement} a GradientMethod, one of {', '.join(map(repr, known))}, "
        f"or a serialised method, got {identifier!r}"
    )
    if isinstance(identifier, str):
        if identifier not in known:
            raise ValueError(message)
        return known[identifier]
    if not isinstance(identifier, dict):
        raise TypeError(f"{message} ({type(identifier).__name__})")
    try:
        method = keras.saving.deserialize_keras_object(identifier)
    # Keras raises many types of error for a dict that it can't read.
    except Exception as error:
        raise ValueError(f"{message}, which Keras can't read: {error}") from error
    if not isinstance(method, GradientMethod):
        raise ValueError(message)
    return method


def are_full(methods: Iterable[GradientMethod]) -> bool:
    """Whether all methods are `FullGradient`."""
    return all(isinstance(method, FullGradient) for method in methods)


def defaults() -> tuple[GradientMethod, ...]:
    """Returns every method of the package, with its default settings.

    Example:

    >>> from tf_approxgrad import methods
    >>> [method.label for method in methods.defaults()][:2]
    ['full', 'exact']
    """
    return tuple(_OWN.values())
