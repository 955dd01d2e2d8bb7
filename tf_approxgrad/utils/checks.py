"""Checks of the arguments of methods and schedules, with errors in words."""

import math
import numbers
from collections.abc import Iterable
from typing import Any


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Returns `value` as a Python int, or raises an error that names the argument.

    Args:
        name: the argument's name, for the message.
        value: what the caller passed. NumPy integers are accepted.
        low: the smallest value allowed.
        high: the largest value allowed, or None for no limit.

    Returns:
        The value as an `int`.

    Raises:
        TypeError: if the value isn't an integer; a bool isn't one.
        ValueError: if the value is out of range.
    """
    allowed = f">= {low}" if high is None else f"from {low} to {high}"
    message = f"{name} must be an integer {allowed}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{message} ({type(value).__name__})")
    integer = int(value)
    if integer < low or (high is not None and integer > high):
        raise ValueError(message)
    return integer


def check_finite(name: str, value: Any, allowed: str, low: float = -math.inf) -> float:
    """Returns `value` as a finite Python float, or raises an error in words.

    Args:
        name: the argument's name, for the message.
        value: what the caller passed. Integers and NumPy numbers are accepted.
        allowed: what is allowed, for the message.
        low: the smallest value allowed.

    Returns:
        The value as a `float`.

    Raises:
        TypeError: if the value isn't a real number; a bool isn't one.
        ValueError: if the value is NaN, infinite or less than `low`.
    """
    message = f"{name} must be {allowed}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{message} ({type(value).__name__})")
    try:
        number = float(value)
    except OverflowError:  # An int beyond the range of a float.
        number = math.inf
    if not math.isfinite(number) or number < low:
        raise ValueError(message)
    return number


def as_tuple(name: str, content: str, value: Any) -> tuple[Any, ...]:
    """Returns the items of a list, a tuple or another iterable.

    Args:
        name: the argument's name, for the message.
        content: what it is a list of, for the message.
        value: what the caller passed.

    Returns:
        The items.

    Raises:
        TypeError: if the value isn't iterable, or is a text or a dict.
    """
    if isinstance(value, str | dict) or not isinstance(value, Iterable):
        raise TypeError(
            f"{name} must be a list of {content}, got {value!r} "
            f"({type(value).__name__})"
        )
    return tuple(value)
