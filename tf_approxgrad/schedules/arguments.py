"""Checks of the arguments that schedules have in common."""

from collections.abc import Sequence
from typing import Any

from tf_approxgrad.utils.checks import check_integer


def check_mean_over(mean_over: str) -> str:
    """Checks over which replicas a mean of gradients is.

    Raises:
        ValueError: If it is neither "all" nor "computed".
    """
    if mean_over not in ("all", "computed"):
        raise ValueError(f"mean_over must be 'all' or 'computed', got {mean_over!r}")
    return mean_over


def check_cell(layer: int, step: int, replica: int) -> tuple[int, int]:
    """Checks the arguments of a call of a schedule.

    Args:
        layer: The layer's index, an integer >= 1.
        step: The training step, an integer >= 0.
        replica: The replica's index, an integer >= 0.

    Returns:
        The layer and the step as Python ints.

    Raises:
        TypeError, ValueError: If an argument isn't allowed.
    """
    check_integer("replica", replica, 0)
    return check_integer("layer", layer, 1), check_integer("step", step, 0)


def layer_names(layers: Any) -> list[str]:
    """Returns the names of the model's convertible layers.

    Args:
        layers: The argument to check.

    Returns:
        The names in order, at least one.

    Raises:
        TypeError: If layers isn't a sequence of objects with a name.
        ValueError: If it is empty.
    """
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise TypeError(
            "layers must be a sequence of the model's convertible layers, "
            f"got {layers!r} ({type(layers).__name__})"
        )
    for layer in layers:
        if not isinstance(getattr(layer, "name", None), str):
            raise TypeError(
                "layers must hold layers, objects with a name, "
                f"got {layer!r} ({type(layer).__name__})"
            )
    if not layers:
        raise ValueError(
            "layers must hold at least one convertible convolution, got none: the "
            "model has nothing to approximate"
        )
    return [layer.name for layer in layers]
