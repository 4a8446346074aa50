"""Appends of several threads are sent one batch at a time, and each gets its own result."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from ingest.stream.group_commit import GroupCommit
from tests.waits import LIMIT_S


class Brought(list[bytes | int]):
    """Values that record when they are added to a batch."""

    def __init__(self, *values: bytes | int) -> None:
        super().__init__(values)
        self.are_taken = Event()

    def __iter__(self) -> Iterator[bytes | int]:
        self.are_taken.set()
        return super().__iter__()


class Shard:
    """Accepts batches while it is open, and refuses those that contain a 0."""

    def __init__(self) -> None:
        self.is_open = Event()
        self.is_asked = Event()
        self.sent: list[list[bytes | int]] = []

    def send(self, values: Sequence[bytes | int]) -> None:
        self.is_asked.set()
        assert self.is_open.wait(LIMIT_S)
        self.sent.append(list(values))
        if 0 in values:
            raise ConnectionError("refused")


@pytest.fixture
def shard() -> Shard:
    return Shard()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def gathered(
    group: GroupCommit, shard: Shard, pool: ThreadPoolExecutor, *many: bytes | int
) -> list["Future[None]"]:
    """Appends, one per thread and in this order; all but the first arrive while the first is being
    sent."""
    futures = []
    for value in many:
        brought = Brought(value)
        futures.append(pool.submit(group.append, brought))
        assert brought.are_taken.wait(LIMIT_S)
        assert shard.is_asked.wait(LIMIT_S)
    shard.is_open.set()
    return futures


def test_what_comes_while_a_batch_is_sent_is_the_next_batch(
    shard: Shard, pool: ThreadPoolExecutor
) -> None:
    group = GroupCommit(shard.send, max_bytes=1000)
    for future in gathered(group, shard, pool, 1, 2, 3, 4):
        future.result(LIMIT_S)
    assert shard.sent == [[1], [2, 3, 4]]


def test_all_of_a_batch_are_told_what_went_wrong_and_no_others(
    shard: Shard, pool: ThreadPoolExecutor
) -> None:
    group = GroupCommit(shard.send, max_bytes=1000)
    first, *together = gathered(group, shard, pool, 1, 2, 0, 4)
    first.result(LIMIT_S)
    errors = [future.exception(LIMIT_S) for future in together]
    assert [(type(error), str(error)) for error in errors] == [(ConnectionError, "refused")] * 3
    group.append([5])
    assert shard.sent == [[1], [2, 0, 4], [5]]


def test_a_batch_that_is_large_enough_takes_no_more(shard: Shard, pool: ThreadPoolExecutor) -> None:
    group = GroupCommit(shard.send, max_bytes=10)
    for future in gathered(group, shard, pool, b"1", b"2" * 6, b"3" * 6, b"4"):
        future.result(LIMIT_S)
    assert sorted(shard.sent) == [[b"1"], [b"2" * 6, b"3" * 6], [b"4"]]


def test_nothing_is_lost_between_many_threads(shard: Shard, pool: ThreadPoolExecutor) -> None:
    shard.is_open.set()
    group = GroupCommit(shard.send, max_bytes=1000)
    list(pool.map(lambda n: group.append([n]), range(1, 2001)))
    assert sorted(value for batch in shard.sent for value in batch) == list(range(1, 2001))
