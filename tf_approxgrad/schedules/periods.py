"""Segments: ranges of steps in which a schedule is periodic."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tf_approxgrad.utils.checks import check_integer

# A row longer than this is that of a schedule without a period.
_MOST_COLUMNS = 1_000_000


class Segment(NamedTuple):
    """A range of steps in which a schedule is periodic.

    It ends where the next one begins; the last one never ends.

    Attributes:
        begin: First step of the segment.
        period: Number of steps after which the methods repeat within the segment; at
            least the segment's length if they don't.
    """

    begin: int
    period: int


class HasSegments(Protocol):
    """The part of a schedule's interface that this module uses."""

    @property
    def segments(self) -> Sequence[tuple[int, int]]: ...


def segments_of(schedule: HasSegments) -> tuple[Segment, ...]:
    """Returns the segments of a schedule, checked.

    Args:
        schedule: A schedule, whose `segments` are pairs (begin, period).

    Returns:
        The segments, as Python ints, in order, the first from step 0.

    Raises:
        TypeError, ValueError: If `segments` isn't of this form, or has more methods
            than a graph can hold.
    """
    checked = tuple(
        Segment(
            check_integer("begin of a segment", begin, 0),
            check_integer("period", period, 1),
        )
        for begin, period in schedule.segments
    )
    begins = [segment.begin for segment in checked]
    if not begins or begins[0] != 0 or begins != sorted(set(begins)):
        raise ValueError(
            "segments must begin at step 0 and then at ever later steps, got those "
            f"that begin at {begins}"
        )
    if sum(columns(checked)) > _MOST_COLUMNS:
        raise ValueError(
            f"segments must have at most {_MOST_COLUMNS:,} steps before they repeat, "
            f"got {sum(columns(checked)):,}: the graph holds the method of each. Where "
            "the methods change seldom, give a segment to each range of steps that "
            "repeats."
        )
    return checked


def columns(segments: Sequence[Segment]) -> list[int]:
    """Returns the number of a row's methods in each segment."""
    ends = [segment.begin for segment in segments[1:]]
    return [
        min(segment.period, end - segment.begin)
        for segment, end in zip(segments, ends, strict=False)
    ] + [segments[-1].period]


def column(segments: Sequence[Segment], step: int) -> int:
    """Returns the index of a step's method in a row."""
    piece = sum(segment.begin <= step for segment in segments) - 1
    begin, period = segments[piece]
    return sum(columns(segments)[:piece]) + (step - begin) % period


def clip(
    segments: Sequence[Segment], begin: int, end: int | None
) -> tuple[Segment, ...]:
    """Returns the segments of the steps from `begin` to `end - 1` (None: no end)."""
    ends: list[int | None] = [segment.begin for segment in segments[1:]]
    return tuple(
        Segment(max(segment.begin, begin), segment.period)
        for segment, stop in zip(segments, [*ends, None], strict=True)
        if (stop is None or stop > begin) and (end is None or segment.begin < end)
    )


def merge(schedules: Sequence[Sequence[Segment]]) -> tuple[Segment, ...]:
    """Returns segments in which several schedules all repeat."""
    begins = sorted({piece.begin for pieces in schedules for piece in pieces})
    periods = [
        [
            next(piece.period for piece in reversed(pieces) if piece.begin <= begin)
            for pieces in schedules
        ]
        for begin in begins
    ]
    return tuple(map(Segment, begins, itertools.starmap(math.lcm, periods)))


def count(flags: Sequence[bool], segments: Sequence[Segment], stop: int) -> int:
    """Returns the number of steps from 0 to stop - 1 whose flag is set.

    Args:
        flags: A flag for each method of a row.
        segments: Segments of the row's schedule.
        stop: Number of steps.

    Returns:
        The exact number, from whole periods instead of single steps.
    """
    total = offset = 0
    ends = [segment.begin for segment in segments[1:]]
    for segment, size, end in itertools.zip_longest(segments, columns(segments), ends):
        length = (stop if end is None else min(stop, end)) - segment.begin
        if length <= 0:
            break
        table = flags[offset : offset + size]
        cycles, rest = divmod(length, size)
        total += cycles * sum(table) + sum(table[:rest])
        offset += size
    return total
