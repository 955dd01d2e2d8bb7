"""Rows of benchmarks/results/*.csv, and tables in Markdown."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
Row = dict[str, str]


def read(name: str) -> list[Row]:
    """The rows of benchmarks/results/NAME.csv."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown(
    header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1
) -> str:
    """A table whose first columns are text and whose others are right-aligned."""
    rule = [*["---"] * texts, *["--:"] * (len(header) - texts)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        92,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def times(value: str | float, digits: int = 2) -> str:
    return f"{float(value):.{digits}f}x" if value != "" else ""


def interval(row: Row, name: str, suffix: str = "") -> str:
    """A quantity that was measured once, or the range of several measurements."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{low}{suffix}" if low == high else f"{low} to {high}{suffix}"
