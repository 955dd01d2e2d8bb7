"""Files of rows are written whole, read as they were written, or refused."""

import dataclasses
import math

import pytest

from benchmarks.rows import read_csv, write_csv


@dataclasses.dataclass(frozen=True)
class Row:
    name: "str"
    count: "int"
    share: "float"
    whole: "bool"


ROWS = [Row("max:k=4, twice", 2, 1 / 3, True), Row("a", 0, math.inf, False)]


def test_file_is_replaced_as_a_whole_and_read_as_it_was_written(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("an older file")
    write_csv(path, ROWS, Row)
    assert read_csv(path, Row) == ROWS
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("count", "number", "must have the columns name, count, .* has name, number"),
        ("inf", "high", "is damaged: line 3 can't be read .*'high'"),
        (",True", "", "is damaged: line 2"),
        ("True", "yes", "is damaged: line 2"),
    ],
)
def test_damaged_file_is_refused(before, after, words, tmp_path):
    path = tmp_path / "rows.csv"
    write_csv(path, ROWS, Row)
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ValueError, match=words):
        read_csv(path, Row)


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.touch()
    with pytest.raises(ValueError, match="has none"):
        read_csv(path, Row)
