"""Argument checks whose errors name the argument, its value and what is allowed."""

import math
import numbers
from collections.abc import Iterable
from typing import Any


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Returns `value` as a Python int, or raises.

    Args:
        name: The argument's name, for the message.
        value: The value. NumPy integers are accepted.
        low: The smallest value allowed.
        high: The largest value allowed, or None for no limit.

    Returns:
        The value as an `int`.

    Raises:
        TypeError: If the value isn't an integer; a bool isn't one.
        ValueError: If the value is out of range.
    """
    # Schedules check three integers in each of a hundred calls for each layer.
    if type(value) is int and value >= low and (high is None or value <= high):
        return value
    allowed = f">= {low}" if high is None else f"from {low} to {high}"
    message = f"{name} must be an integer {allowed}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{message} ({type(value).__name__})")
    integer = int(value)
    if integer < low or (high is not None and integer > high):
        raise ValueError(message)
    return integer


def check_finite(name: str, value: Any, allowed: str, low: float = -math.inf) -> float:
    """Returns `value` as a finite Python float, or raises.

    Args:
        name: The argument's name, for the message.
        value: The value. Integers and NumPy numbers are accepted.
        allowed: The allowed values, as the message states them.
        low: The smallest value allowed.

    Returns:
        The value as a `float`.

    Raises:
        TypeError: If the value isn't a real number; a bool isn't one.
        ValueError: If the value is NaN, infinite or less than `low`.
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
    """Returns the items of an iterable other than a string or a dict.

    Args:
        name: The argument's name, for the message.
        content: The kind of items, in the plural, for the message.
        value: The value.

    Returns:
        The items.

    Raises:
        TypeError: If the value isn't iterable, or is a string or a dict.
    """
    if isinstance(value, str | dict) or not isinstance(value, Iterable):
        raise TypeError(
            f"{name} must be a list of {content}, got {value!r} "
            f"({type(value).__name__})"
        )
    return tuple(value)
