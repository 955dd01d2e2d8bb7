"""Where a schedule repeats: pieces of the steps, each with a period of its own."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tf_approxgrad.utils.checks import check_integer

# More methods than this in a layer's row are a schedule that forgot its period.
_MOST_COLUMNS = 1_000_000


class Segment(NamedTuple):
    """A range of steps in which a schedule is periodic.

    It ends where the next one begins; the last one never ends.

    Attributes:
        begin: its first step.
        period: the number of steps after which the methods repeat, within the
            segment. At least the segment's length if they don't.
    """

    begin: int
    period: int


class HasSegments(Protocol):
    """A schedule, as far as this module is concerned."""

    @property
    def segments(self) -> Sequence[tuple[int, int]]: ...


def segments_of(schedule: HasSegments) -> tuple[Segment, ...]:
    """Returns the segments of a schedule, checked.

    Args:
        schedule: its `segments` are pairs (begin, period), the first from step 0, in
            order.

    Returns:
        The segments, as Python ints.

    Raises:
        TypeError, ValueError: if they aren't such segments, or so long that the
            graph couldn't hold their methods.
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
    """Returns how many methods of a row belong to each segment."""
    ends = [segment.begin for segment in segments[1:]]
    return [
        min(segment.period, end - segment.begin)
        for segment, end in zip(segments, ends, strict=False)
    ] + [segments[-1].period]


def column(segments: Sequence[Segment], step: int) -> int:
    """Returns the index into a row of the method at a step."""
    piece = sum(segment.begin <= step for segment in segments) - 1
    begin, period = segments[piece]
    return sum(columns(segments)[:piece]) + (step - begin) % period


def clip(
    segments: Sequence[Segment], begin: int, end: int | None
) -> tuple[Segment, ...]:
    """Returns the segments of the steps from `begin` to `end` (None: for ever)."""
    ends: list[int | None] = [segment.begin for segment in segments[1:]]
    return tuple(
        Segment(max(segment.begin, begin), segment.period)
        for segment, stop in zip(segments, [*ends, None], strict=True)
        if (stop is None or stop > begin) and (end is None or segment.begin < end)
    )


def merge(schedules: Sequence[Sequence[Segment]]) -> tuple[Segment, ...]:
    """Returns segments in which all of several schedules repeat."""
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
    """Returns at how many of the steps from 0 to stop - 1 a flag of a row is set.

    Args:
        flags: a value for each method of a row.
        segments: the segments of the row's schedule.
        stop: the number of steps.

    Returns:
        The number, exact; computed without looking at each step.
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
