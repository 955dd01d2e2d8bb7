"""Rows of results: dataclass instances as CSV files and as tables of text."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")


def write_csv(path: Path, rows: Sequence[Any], kind: type) -> None:
    """Writes dataclass instances of one kind, replacing the file as a whole."""
    names = [field.name for field in dataclasses.fields(kind)]
    # Never half a file, even if the program is killed meanwhile.
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)
    os.replace(unfinished, path)


def read_csv(path: Path, kind: type[Row]) -> list[Row]:
    """Reads what `write_csv` wrote of the dataclass `kind`.

    Its fields are of the types str, int, float and bool.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it isn't one of that kind.
    """
    fields = dataclasses.fields(kind)
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != [field.name for field in fields]:
            raise ValueError(
                f"{path} must have the columns "
                f"{', '.join(field.name for field in fields)}, but has "
                f"{', '.join(reader.fieldnames or ['none'])}."
            )
        try:
            return [parse(row, kind) for row in reader]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged: line {reader.line_num} can't be read ({error})."
            ) from error


def parse(texts: Mapping[str, str], kind: type[Row]) -> Row:
    """The instance of the dataclass `kind` among the columns of a row."""
    fields = dataclasses.fields(kind)
    return kind(**{x.name: _READERS[x.type](texts[x.name]) for x in fields})


# By the annotation, which is a text in a module that postpones evaluation.
_READERS: dict[Any, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": {"True": True, "False": False}.__getitem__,
}


def merge(kind: type[Row], *parts: Any) -> Row:
    """One row of `kind` with the fields of several dataclass instances."""
    values = {k: v for part in parts for k, v in dataclasses.asdict(part).items()}
    return kind(**values)


def align(header: tuple[str, ...], cells: Iterable[tuple[str, ...]]) -> str:
    """A table as text: the first column to the left, the others to the right."""
    lines = [header, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
