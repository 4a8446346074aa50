"""The scope of a transaction, which determines whose rows the database shows.

Processes that serve people log in as a role that cannot see any tenant's rows. A scope opens a
transaction with the role `rollcall_tenant`, which sees only the rows of the tenants in
`app.tenant_ids`: for ordinary tables through policies, and for hypertables through views with the
same names in the schema `scoped`. Operators get a scope with the role `rollcall_operator` instead.
All of this ends with the transaction, so nothing is left behind on a pooled connection.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from devices.http import origin
from devices.tenancy.access import Access

# A query that takes longer than this would block the connection for others.
STATEMENT_TIMEOUT = "60s"
TENANT, OPERATOR = "rollcall_tenant", "rollcall_operator"
SCOPED_PATH, PUBLIC_PATH = "scoped,public", "public"

# The open scope's tenants; None if no scope is open or if it is an operator's.
_open: ContextVar[frozenset[int] | None] = ContextVar("open_scope", default=None)


class ScopeError(RuntimeError):
    """The requested scope is wider than the one that is open."""


@contextmanager
def tenant_scope(
    *,
    tenant_ids: Collection[int],
    user_id: int | None = None,
    settings: Mapping[str, str] | None = None,
    reads: bool = False,
) -> Iterator[None]:
    """A transaction that can read and change only these tenants' rows; without any tenants, none.

    `user_id` is the person it is opened for; `settings` are further PostgreSQL settings that apply
    inside it. If `reads` is true, it is read-only. An exception rolls it back. Raises ScopeError if
    a scope is already open that does not cover these tenants.
    """
    wanted = frozenset(tenant_ids)
    around = _open.get()
    if around is not None and not wanted <= around:
        raise ScopeError("a scope cannot be widened from inside")
    ids = "{" + ",".join(map(str, sorted(wanted))) + "}"
    own = _settings(role=TENANT, search_path=SCOPED_PATH, tenant_ids=ids, user_id=user_id)
    token = _open.set(wanted)
    try:
        with _entered({**own, **(settings or {})}, reads=reads):
            yield
    finally:
        _open.reset(token)


@contextmanager
def operator_scope(
    *, user_id: int, settings: Mapping[str, str] | None = None, reads: bool = False
) -> Iterator[None]:
    """A transaction for an operator, which can read and change the rows of all tenants.

    Raises ScopeError if a tenant scope is already open.
    """
    if _open.get() is not None:
        raise ScopeError("a scope cannot be widened from inside")
    own = _settings(role=OPERATOR, search_path=PUBLIC_PATH, tenant_ids="", user_id=user_id)
    with _entered({**own, **(settings or {})}, reads=reads):
        yield


def open_tenant_ids() -> frozenset[int] | None:
    """The open scope's tenants; None if no scope is open or if it is an operator's."""
    return _open.get()


@contextmanager
def access_scope(
    access: Access, *, settings: Mapping[str, str] | None = None, reads: bool = False
) -> Iterator[None]:
    """The scope for what a person may see."""
    if access.is_operator and access.user_id is not None:
        with operator_scope(user_id=access.user_id, settings=settings, reads=reads):
            yield
    else:
        tenant_ids, user_id = access.roles.keys(), access.user_id
        with tenant_scope(tenant_ids=tenant_ids, user_id=user_id, settings=settings, reads=reads):
            yield


def _settings(
    *, role: str, search_path: str, tenant_ids: str, user_id: int | None
) -> dict[str, str]:
    return {
        "statement_timeout": STATEMENT_TIMEOUT,
        "role": role,
        "search_path": search_path,
        "app.tenant_ids": tenant_ids,
        "app.user_id": "" if user_id is None else str(user_id),
        origin.SETTING: origin.origin_text(),
    }


@contextmanager
def _entered(settings: dict[str, str], *, reads: bool) -> Iterator[None]:
    """A transaction with these settings, or a savepoint if a transaction is already open.

    A commit or rollback ends the settings. Releasing a savepoint ends only read-only mode and keeps
    the other settings, so their previous values are restored.
    """
    before: dict[str, str] = {}
    is_inner = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_inner:
            values = ", ".join(["coalesce(current_setting(%s, true), '')"] * len(settings))
            cursor.execute(f"SELECT {values}", [*settings])
            before = dict(zip(settings, cursor.fetchone(), strict=True))
        _set(cursor, settings | {"transaction_read_only": "on"} if reads else settings)
        yield
        if before and not connection.needs_rollback:
            _set(cursor, before)


def _set(cursor: CursorWrapper, settings: Mapping[str, str]) -> None:
    """Applies the settings for the rest of the transaction, in one statement."""
    calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    cursor.execute(f"SELECT {calls}", [text for setting in settings.items() for text in setting])
