"""Whose rows the database shows: the scope of a transaction.

Processes that serve people log in as a role that sees no tenant's rows. A scope opens a
transaction in which the role is `rollcall_tenant`, which sees the rows of the tenants in
`app.tenant_ids` and no others: by policies on ordinary tables, by views of the same names in the
schema `scoped` on hypertables. Operators have a scope of their own, `rollcall_operator`. All of it
ends with the transaction, so that nothing is left behind on a pooled connection.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.pq import Escaping

from devices.http.origin import origin_text
from devices.tenancy.access import Access

# The last setting is devices.http.origin's, for the history.
ENTER = """
SELECT set_config('role', %s, true), set_config('search_path', %s, true),
       set_config('app.tenant_ids', %s, true), set_config('app.user_id', %s, true),
       set_config('pghistory.context_metadata', %s, true)
"""
# Inside another transaction; what refuses to write there ends with the savepoint.
ENTER_TO_READ = f"{ENTER}, set_config('transaction_read_only', 'on', true)"
# Whoever asks for more than the database can do in a minute keeps no connection from others.
STATEMENT_S = 60
BEGIN = f"SET LOCAL statement_timeout = '{STATEMENT_S}s'; {ENTER}".encode()
AROUND = """
SELECT current_setting('role'), current_setting('search_path'),
       coalesce(current_setting('app.tenant_ids', true), ''),
       coalesce(current_setting('app.user_id', true), ''),
       coalesce(current_setting('pghistory.context_metadata', true), '')
"""
TENANT, OPERATOR = "rollcall_tenant", "rollcall_operator"
SCOPED_PATH, PUBLIC_PATH = "scoped,public", "public"

# The tenants of the scope that is open; None if none is, or an operator's.
_open: ContextVar[frozenset[int] | None] = ContextVar("open_scope", default=None)


class ScopeError(RuntimeError):
    """A scope was asked for that is wider than the one that is open."""


@contextmanager
def tenant_scope(
    *,
    tenant_ids: Collection[int],
    user_id: int | None = None,
    begin: str = "",
    reads: bool = False,
) -> Iterator[None]:
    """A transaction that sees and changes rows of these tenants only; of none if there are none.

    `user_id` is the person for whom it is opened, `begin` are statements to begin with. With
    `reads` it refuses to change anything, and the end of a transaction that is begun for it is not
    waited for. Inside another scope only a narrower one can be opened: else ScopeError. What is
    done inside is rolled back if it raises.
    """
    wanted = frozenset(tenant_ids)
    around = _open.get()
    if around is not None and not wanted <= around:
        raise ScopeError("a scope cannot be widened from inside")
    ids = "{" + ",".join(map(str, sorted(wanted))) + "}"
    settings = _Settings(TENANT, SCOPED_PATH, ids, _text(user_id), origin_text())
    token = _open.set(wanted)
    try:
        with _entered(settings, begin, reads):
            yield
    finally:
        _open.reset(token)


@contextmanager
def operator_scope(*, user_id: int, begin: str = "", reads: bool = False) -> Iterator[None]:
    """A transaction that sees and changes the rows of all tenants, for an operator."""
    if _open.get() is not None:
        raise ScopeError("a scope cannot be widened from inside")
    settings = _Settings(OPERATOR, PUBLIC_PATH, "", _text(user_id), origin_text())
    with _entered(settings, begin, reads):
        yield


def open_tenant_ids() -> frozenset[int] | None:
    """The tenants of the scope that is open; None if none is, or an operator's."""
    return _open.get()


@contextmanager
def access_scope(access: Access, *, begin: str = "", reads: bool = False) -> Iterator[None]:
    """The scope that belongs to what a person may see."""
    if access.is_operator and access.user_id is not None:
        with operator_scope(user_id=access.user_id, begin=begin, reads=reads):
            yield
    else:
        tenant_ids, user_id = access.roles.keys(), access.user_id
        with tenant_scope(tenant_ids=tenant_ids, user_id=user_id, begin=begin, reads=reads):
            yield


class _Settings(NamedTuple):
    role: str
    search_path: str
    tenant_ids: str
    user_id: str
    origin: str


@contextmanager
def _entered(wanted: _Settings, begin: str, reads: bool) -> Iterator[None]:
    if not connection.in_atomic_block:
        with transaction.atomic():
            _begin(wanted, begin, reads)
            yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        around = _around(cursor)
        cursor.execute(ENTER_TO_READ if reads else ENTER, wanted)
        if begin:
            cursor.execute(begin)
        yield
        # A commit takes the settings away, and so does a rollback, be it to a savepoint; a
        # savepoint that is released leaves them.
        if not connection.needs_rollback:
            cursor.execute(ENTER, around)


def _begin(wanted: _Settings, begin: str, reads: bool) -> None:
    """Begins the transaction of the atomic block that was just entered, with the settings."""
    pgconn = connection.connection.pgconn
    quoted = tuple(map(Escaping(pgconn).escape_literal, map(str.encode, wanted)))
    engine: Any = connection  # telemetry.engine's
    engine.begin_ahead(BEGIN % quoted + f"; {begin}".encode(), reads=reads)


def _around(cursor: CursorWrapper) -> _Settings:
    """What is set in the transaction that is open already."""
    cursor.execute(AROUND)
    return _Settings(*cursor.fetchone())


def _text(user_id: int | None) -> str:
    return "" if user_id is None else str(user_id)
