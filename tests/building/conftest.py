"""Checkouts that are small enough for a test to build them."""

from pathlib import Path

import pytest
from small_checkout import build, write_checkout, write_tensorflow


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a path with a space, as cloned."""
    return make_checkout(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the CPU's library built, for all tests of a file."""
    folder = make_checkout(tmp_path_factory.mktemp("built"))
    result = build(folder)
    assert result.returncode == 0, result.stdout
    return folder


def make_checkout(parent: Path) -> Path:
    write_tensorflow(parent / "site", "2.21.0")
    return write_checkout(parent / "check out")
