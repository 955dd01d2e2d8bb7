"""Matplotlib, imported only where something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def import_pyplot() -> Any:
    """Returns `matplotlib.pyplot`, or raises if it isn't installed."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install matplotlib") from error
    return pyplot


def new_axes(width: float, height: float) -> Axes:
    """Axes of a new figure of the given size in inches."""
    _, ax = import_pyplot().subplots(figsize=(width, height), layout="constrained")
    return ax
