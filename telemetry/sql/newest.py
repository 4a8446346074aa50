"""The newest rows of a device, through the views of a scope.

A view with a security barrier keeps LIMIT and the order outside: the database reads all that the
conditions leave before it sorts. So the conditions name a window of time. A device that speaks
every ten minutes or more often fills it; of one that speaks less often all can be read.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

Row = TypeVar("Row")

WINDOW = timedelta(hours=4)
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
SPAN, WIDER = timedelta(hours=1), 4


def newest(
    read: Callable[[datetime], Sequence[Row]], *, until: datetime, limit: int
) -> Sequence[Row]:
    """What `read` finds in the window before `until`, if that is `limit` rows, else in all time.

    `read` gets the beginning, and reads `limit` rows at most. `until` is when the device was heard
    last; what lies beyond it is found too.
    """
    rows = read(until - WINDOW)
    return rows if len(rows) >= limit else read(FIRST)


def backwards(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time from `start` to `end` in parts for a page to read, the newest first, each longer
    than the one before."""
    span = SPAN
    while end > start:
        begin = max(start, end - span)
        yield begin, end
        end, span = begin, span * WIDER
