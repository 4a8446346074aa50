"""Inserts rows into a hypertable, one per key: a row whose key is taken joins the stored one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from django.db import IntegrityError, transaction
from django.db.backends.utils import CursorWrapper

from telemetry.sql.bulk import copy_lines

# More names than this do not fit into one row, however many messages it joins.
MOST_NAMES = 1024
# A duplicate makes COPY fail as a whole, and the rows it had written stay behind as bloat. Where
# one key was taken, others soon are, so the next batches do not try COPY first.
BATCHES_WITHOUT_COPY = 20

# Rows of a compressed chunk are decompressed to be compared with ours, and beyond the default limit
# the statement fails, for ever if it is retried.
UNLIMITED = "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"

Row = TypeVar("Row")


class Became(StrEnum):
    """What became of a row whose key was taken."""

    JOINED = "joined"  # it added something to the stored row
    DUPLICATE = "duplicate"  # everything in it was stored
    CONFLICT = "conflict"  # another value is stored under one of its names
    TOO_WIDE = "too_wide"  # the stored row would have more than MOST_NAMES names


class Join(NamedTuple, Generic[Row]):
    """What became of a row that joined another one.

    `as_stored` is the row with the stored values; `words` say what is in conflict, or why it does
    not fit.
    """

    became: Became
    as_stored: Row
    words: str = ""


class Joiner(Protocol[Row]):
    """A stored row, to which others are added one by one."""

    def add(self, row: Row) -> Join[Row]:
        """Adds what the stored row does not have yet."""

    def additions(self) -> Row | None:
        """What was added, as a row for ON CONFLICT DO UPDATE; None if nothing was."""

    def merged(self) -> Row:
        """The stored row with the additions."""

    def seen_otherwise(self, row: Row) -> "Joiner[Row] | None":
        """`row` is what is stored in the end. If it has values that neither were stored before nor
        were added here, another shard has added them meanwhile: then the stored row with these,
        but without what was added here; else None."""


class Kind(NamedTuple, Generic[Row]):
    """How the rows of one hypertable are joined.

    `key` and `line` give a row's key, which starts with the device's id and a time, and the row in
    COPY's text format. `joiner` begins with a stored row. `read` is a statement for the stored rows
    whose keys are in its arrays, one per key column, between the times `first` and `last`; it
    returns the columns `read_columns`, of which `loaded` makes a row. `update` is what ON CONFLICT
    DO UPDATE sets.
    """

    table: str
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    key: Callable[[Row], tuple[Any, ...]]
    line: Callable[[Row], str]
    joiner: Callable[[Row], Joiner[Row]]
    read: str
    read_columns: tuple[str, ...]
    loaded: Callable[[tuple[Any, ...]], Row]
    update: str


class _Group(NamedTuple, Generic[Row]):
    """The rows of a batch that have the same key, in the order of their arrival."""

    key: tuple[Any, ...]
    positions: Sequence[int]
    rows: Sequence[Row]


_batches_left: dict[str, int] = {}


def insert_joining(
    cursor: CursorWrapper, kind: Kind[Row], rows: Sequence[Row]
) -> dict[int, Join[Row]]:
    """Stores rows, and joins those whose key is taken, in the table or earlier in `rows`.

    Returns what became of the latter, by their positions in `rows`; all others have a row of their
    own now. Of several rows with the same key, the earlier ones are joined first.
    """
    keys = [kind.key(row) for row in rows]
    # Transactions that store the same rows do it in the same order, to avoid deadlocks.
    order = sorted(range(len(rows)), key=keys.__getitem__)
    groups = _groups(rows, keys, order)
    if _may_copy(kind.table):
        # Usually all keys differ.
        alone = len(groups) == len(rows)
        new = (rows[n] for n in order) if alone else (_merged(kind, one.rows) for one in groups)
        try:
            with transaction.atomic():
                lines = list(map(kind.line, new))
                copy_lines(cursor, f"{kind.table} ({', '.join(kind.columns)})", lines)
            return {} if alone else _became(kind, groups)
        except IntegrityError:
            _batches_left[kind.table] = BATCHES_WITHOUT_COPY
    return _insert_slowly(cursor, kind, groups)


def _groups(
    rows: Sequence[Row], keys: Sequence[tuple[Any, ...]], order: Sequence[int]
) -> list[_Group[Row]]:
    return [
        _Group(key, positions, [rows[n] for n in positions])
        for key, group in groupby(order, keys.__getitem__)
        for positions in (list(group),)
    ]


def _may_copy(table: str) -> bool:
    left = _batches_left.get(table, 0)
    if left:
        _batches_left[table] = left - 1
    return not left


def _merged(kind: Kind[Row], rows: Sequence[Row]) -> Row:
    joiner = kind.joiner(rows[0])
    for row in rows[1:]:
        joiner.add(row)
    return joiner.merged() if len(rows) > 1 else rows[0]


def _became(kind: Kind[Row], groups: Sequence[_Group[Row]]) -> dict[int, Join[Row]]:
    """What became of the rows that have no row of their own, if none was stored before."""
    became: dict[int, Join[Row]] = {}
    for group in groups:
        if len(group.rows) > 1:
            became |= _added(kind.joiner(group.rows[0]), group.positions[1:], group.rows[1:])
    return became


def _added(
    joiner: Joiner[Row], positions: Sequence[int], rows: Sequence[Row]
) -> dict[int, Join[Row]]:
    return {n: joiner.add(row) for n, row in zip(positions, rows, strict=True)}


def _insert_slowly(
    cursor: CursorWrapper, kind: Kind[Row], groups: Sequence[_Group[Row]]
) -> dict[int, Join[Row]]:
    """Reads what is stored under the keys, inserts the other rows, and joins.

    Another shard may insert a row after we looked. Then ours is not inserted, and we look again.
    """
    cursor.execute(UNLIMITED)
    became: dict[int, Join[Row]] = {}
    while groups:
        stored = _read(cursor, kind, [group.key for group in groups])
        new = [group for group in groups if group.key not in stored]
        inserted = _insert_new(cursor, kind, new)
        became |= _became(kind, [one for one in new if one.key in inserted])
        old = [group for group in groups if group.key in stored]
        became |= _join(cursor, kind, stored, old)
        groups = [group for group in new if group.key not in inserted]
        if old or groups:
            _batches_left[kind.table] = BATCHES_WITHOUT_COPY
    return became


def _join(
    cursor: CursorWrapper,
    kind: Kind[Row],
    stored: Mapping[tuple[Any, ...], Row],
    groups: Sequence[_Group[Row]],
) -> dict[int, Join[Row]]:
    """Adds to stored rows what they do not have yet.

    Another shard may have added to a row after we looked. What is stored in the end shows it, and
    nobody can change that before we commit; so our rows are judged again by what came first.
    """
    joiners = {group.key: kind.joiner(stored[group.key]) for group in groups}
    became: dict[int, Join[Row]] = {}
    for group in groups:
        became |= _added(joiners[group.key], group.positions, group.rows)
    additions = [row for one in joiners.values() if (row := one.additions()) is not None]
    if additions:
        in_the_end = _update(cursor, kind, additions)
        for group in groups:
            if (row := in_the_end.get(group.key)) is not None:
                again = joiners[group.key].seen_otherwise(row)
                if again is not None:
                    became |= _added(again, group.positions, group.rows)
    return became


def _read(
    cursor: CursorWrapper, kind: Kind[Row], keys: Sequence[tuple[Any, ...]]
) -> dict[tuple[Any, ...], Row]:
    columns = dict(zip(kind.key_columns, map(list, zip(*keys, strict=True)), strict=True))
    times: list[datetime] = columns[kind.key_columns[1]]
    # The bounds leave out the chunks that have none of the keys.
    cursor.execute(kind.read, columns | {"first": min(times), "last": max(times)})
    rows = map(kind.loaded, cursor.fetchall())
    return {kind.key(row): row for row in rows}


def _insert_new(
    cursor: CursorWrapper, kind: Kind[Row], groups: Sequence[_Group[Row]]
) -> set[tuple[Any, ...]]:
    """Inserts a row for each group, and returns the keys of those that were not taken meanwhile."""
    if not groups:
        return set()
    lines = [kind.line(_merged(kind, group.rows)) for group in groups]
    returning = ", ".join(kind.key_columns)
    _insert_from_temporary(cursor, kind, lines, f"DO NOTHING RETURNING {returning}")
    return set(cursor.fetchall())


def _update(
    cursor: CursorWrapper, kind: Kind[Row], additions: Sequence[Row]
) -> dict[tuple[Any, ...], Row]:
    """Adds to the stored rows, and returns them by their keys."""
    lines = list(map(kind.line, additions))
    returning = ", ".join(kind.read_columns)
    _insert_from_temporary(
        cursor, kind, lines, f"DO UPDATE SET {kind.update} RETURNING {returning}"
    )
    rows = map(kind.loaded, cursor.fetchall())
    return {kind.key(row): row for row in rows}


def _insert_from_temporary(
    cursor: CursorWrapper, kind: Kind[Row], lines: Sequence[str], on_conflict: str
) -> None:
    """COPY cannot do anything about conflicts, but INSERT can."""
    incoming = f"incoming_{kind.table}"
    columns, key = ", ".join(kind.columns), ", ".join(kind.key_columns)
    cursor.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} ON COMMIT DELETE ROWS "
        f"AS SELECT {columns} FROM {kind.table} WITH NO DATA"
    )
    # The table is only emptied at commit, and a transaction may get here more than once.
    cursor.execute(f"DELETE FROM {incoming}")
    copy_lines(cursor, f"{incoming} ({columns})", lines)
    cursor.execute(
        f"INSERT INTO {kind.table} AS stored ({columns}) SELECT {columns} FROM {incoming} "
        f"ORDER BY {key} ON CONFLICT ({key}) {on_conflict}"
    )
