"""Tables in the style of `keras.Model.summary`."""

from __future__ import annotations

import rich.console

# The width of the widest table of `keras.Model.summary`.
_WIDTH = 108


def as_text(renderable: rich.console.ConsoleRenderable) -> str:
    """The output of `rich.print` as plain text, without colours."""
    console = rich.console.Console(
        width=_WIDTH, highlight=False, force_terminal=False, color_system=None
    )
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def number(value: object) -> str:
    """Markup of a number, or of None in its place, in the colours of `summary`."""
    return f"[color({45 if value is None else 34})]{value}[/]"
