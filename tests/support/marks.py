"""Marks for the cases of a parametrised test."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def slowly(*values: Any) -> list[Any]:
    """Cases of a parametrised test that run with `make test-slow` alone."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def slowly_but(quick: Container[Any], values: Iterable[Any]) -> list[Any]:
    """The same of all cases but some."""
    return [x if x in quick else slowly(x)[0] for x in values]
