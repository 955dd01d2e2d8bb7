"""Command-line arguments that several programs take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as it is."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def at_least(lowest: float, kind: Callable[[str], float] = int) -> Callable:
    """Reads a number that must not be smaller than `lowest`."""

    def read(text: str) -> float:
        number = kind(text)
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{text} must be at least {lowest}")
        return number

    read.__name__ = "integer" if kind is int else "number"
    return read


def new_file(text: str) -> Path:
    """Refuses a file that can't be written, before minutes are spent on its rows."""
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no such folder")
    return path


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Adds --threads."""
    parser.add_argument(
        "--threads",
        type=at_least(1),
        default=os.cpu_count() or 1,
        help="by default one for each processor",
    )
