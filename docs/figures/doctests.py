"""Fences the docstrings' doctests, which Markdown would read as quotes and links."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*\n(?:\1\S.*\n|\1 +\S.*\n)*", re.MULTILINE)


class FenceDoctests(griffe.Extension):
    """Puts ```pycon around each example of a docstring."""

    def on_instance(self, *, obj: Any, **options: Any) -> None:
        if obj.docstring:
            obj.docstring.value = fence(obj.docstring.value)


def fence(text: str) -> str:
    """A docstring's text with each doctest, output included, in a fence."""
    fenced = _DOCTEST.sub(
        lambda match: f"{match[1]}```pycon\n{match[0]}{match[1]}```\n", f"{text}\n"
    )
    return fenced.removesuffix("\n")
