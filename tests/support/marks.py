"""Marks for the cases of a parametrised test."""

from typing import Any

import pytest


def slowly(*values: Any) -> list[Any]:
    """Cases of a parametrised test that run with `make test-slow` alone."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
