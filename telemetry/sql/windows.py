"""The newest rows of a device, through the views of a scope.

A view with a security barrier keeps LIMIT and the order outside: the database reads all that the
conditions leave before it sorts. So the conditions name a window of time: one that a device fills
which speaks about as often as it should, else a longer one, else all. Readings, of which an hour
may have many, have a view that is in order itself, `telemetry_reading_newest`; windows keep the
chunks few for which its query is planned. Transitions have one, too, and few chunks.
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
    """What `read` finds from some time on, the latest from which it finds `limit` rows.

    `read` gets the beginning, and reads `limit` rows at most. `until` is when the device was heard
    last, and `every` how long from one row to the next; what lies beyond `until` is found too.
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
    """The time from `start` to `end` in parts for a page to read, the newest first, each longer
    than the one before."""
    span = SPAN
    while end > start:
        begin = max(start, end - span)
        yield begin, end
        end, span = begin, span * WIDER
