"""The text, code and commands of README.md and of the site's pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (
        *(ROOT / name for name in GUIDES),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [code for name, code in _FENCE.findall(text) if name == language]


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(text))


def commands(text: str) -> list[list[str]]:
    """The words of each shell command in a page's console blocks and in its `code`."""
    programs = ("cmake", "make", "pip", "python")
    lines = "".join(blocks(text, "console")).splitlines()
    split = [shlex.split(line, comments=True) for line in [*lines, *code_spans(text)]]
    return [words for words in split if words and words[0] in programs]


def table(text: str, heading: str) -> dict[str, str]:
    """The rows of the table whose first column has a heading, by their first cell."""
    _, _, below = text.partition(f"\n| {heading} |")
    rows = re.match(r".*\n((?:\|.*\n)*)", below)[1].splitlines()[1:]
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows}
