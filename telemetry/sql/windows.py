"""Windows of time in which to look for a device's newest rows.

LIMIT and ORDER BY are not pushed into a scope's security_barrier view: the database reads every
row that meets the conditions, then sorts. So the conditions name a window: one that the device
fills if it sends about as often as it should, then a longer one, then all time. An hour can have
many readings, so these have a view that is already sorted, `telemetry_reading_newest`; its windows
only limit the number of chunks to plan for. Transitions have such a view, too, and few chunks.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

Row = TypeVar("Row")

MARGIN = 1.5
LONGER = timedelta(hours=4)
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
SPAN, WIDER = timedelta(hours=1), 4


def newest(
    read: Callable[[datetime], Sequence[Row]], *, until: datetime, every: timedelta, limit: int
) -> Sequence[Row]:
    """The newest `limit` rows, read from the shortest window that has that many.

    `read` gets the window's start, and returns at most `limit` rows. `until` is when the device was
    last heard from, and `every` the usual time between two rows. Rows after `until` are found, too.
    """
    usual = until - MARGIN * limit * every
    longer = (until - LONGER,) if usual > until - LONGER else ()
    rows: Sequence[Row] = ()
    for start in (usual, *longer, FIRST):
        rows = read(start)
        if len(rows) >= limit:
            break
    return rows


def backwards(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Splits the time from `start` to `end` into windows to read in turn for a page: newest first,
    each longer than the one before."""
    span = SPAN
    while end > start:
        begin = max(start, end - span)
        yield begin, end
        end, span = begin, span * WIDER
