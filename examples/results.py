"""What a run measured: its rows, its files and its table."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")


@dataclasses.dataclass(frozen=True)
class EpochRow:
    """One epoch of one method. Accuracies are from 0 to 1, epochs from 1."""

    method: str
    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float

    @classmethod
    def from_logs(
        cls, method: str, epoch: int, learning_rate: float, logs: dict[str, Any]
    ) -> EpochRow:
        """Makes a row from what Keras logs at the end of an epoch."""
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        values = {name: float(logs[name]) for name in names}
        return cls(method, epoch, learning_rate, **values)


@dataclasses.dataclass(frozen=True)
class SummaryRow:
    """One method of a comparison.

    Attributes:
      method: Its name.
      best_accuracy: The best validation accuracy of all epochs, 0 to 1.
      last_accuracy: That of the last epoch.
      accuracy_lost: How far the best lies below the full gradient's best, in points.
      step_ms: The median step time, NaN if no step was timed.
      speed_up: The share of the full gradient's time that is saved, in percent.
    """

    method: str
    best_accuracy: float
    last_accuracy: float
    accuracy_lost: float
    step_ms: float
    speed_up: float


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
            return [
                kind(**{x.name: _READERS[x.type](row[x.name]) for x in fields})
                for row in reader
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged: line {reader.line_num} can't be read ({error})."
            ) from error


# By the annotation, which is a text in a module that postpones evaluation.
_READERS: dict[Any, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": {"True": True, "False": False}.__getitem__,
}


def format_table(rows: Iterable[SummaryRow]) -> str:
    """The table of a comparison as text."""
    header = (
        "method",
        "validation accuracy",
        "accuracy lost",
        "step time",
        "speed-up over full",
    )
    cells = [
        (
            row.method,
            f"{row.best_accuracy:.2%}",
            _or_dash("{:.2f} points", row.accuracy_lost, row),
            "not timed" if math.isnan(row.step_ms) else f"{row.step_ms:.1f} ms",
            _or_dash("{:.1f}%", row.speed_up, row),
        )
        for row in rows
    ]
    return align(header, cells)


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


def _or_dash(form: str, value: float, row: SummaryRow) -> str:
    """A dash where there is nothing to compare: in full's row, or without times."""
    return "-" if row.method == "full" or math.isnan(value) else form.format(value)
