"""Where a change comes from: the request, command or task that the history shows.

The history is written by triggers, which read the origin from a database setting. For requests,
the scope sets it (without a scope, a request changes nothing); commands and tasks set it on their
connection.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from random import getrandbits
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponseBase

# pghistory's triggers read it.
SETTING = "pghistory.context_metadata"
MAX_PATH = 500
# URL parameters; allauth uses `key` in links that verify an address or reset a password.
SECRET_PARAMETERS = {"token", "key"}
REQUEST_ID_HEADER = "X-Request-ID"
_given_id = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")

_request: ContextVar[HttpRequest | None] = ContextVar("origin_request", default=None)
_notes: ContextVar[Mapping[str, str] | None] = ContextVar("origin_notes", default=None)
# What this process is currently running: a command, or a worker's task.
_work: dict[str, str] = {}


@contextmanager
def request_origin(request: HttpRequest) -> Iterator[None]:
    """Changes made while the `with` block runs are recorded as coming from this request."""
    token = _request.set(request)
    notes = _notes.set({})
    try:
        yield
    finally:
        _notes.reset(notes)
        _request.reset(token)


def origin_note(**facts: str) -> None:
    """Adds details to the origin of this request's changes, such as the token that was used."""
    if _request.get() is not None:
        _notes.set({**(_notes.get() or {}), **facts})


def work_set(**facts: str) -> None:
    """From now on, changes are recorded as coming from this command or task, even on connections
    that are already open."""
    _work.clear()
    _work.update(facts)
    for one in connections.all(initialized_only=True):
        if one.connection is not None:
            work_tell(connection=one)


def work_tell(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Tells the connection what this process is running. Receives connection_created."""
    if _work:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config(%s, %s, false)", [SETTING, origin_text()])


def origin_text() -> str:
    """The origin of changes as JSON; empty if nothing is known."""
    request = _request.get()
    facts = {**(_facts(request) if request else _work), **(_notes.get() or {})}
    return json.dumps(facts) if facts else ""


def client_address(request: HttpRequest) -> str | None:
    """The address the request came from; X-Forwarded-For is used only if a trusted proxy sent
    it."""
    peer = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return _address(forwarded.split(",")[-1].strip() if peer in settings.TRUSTED_PROXIES else peer)


@lru_cache(maxsize=10_000)
def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def request_id(request: HttpRequest) -> str:
    """The request's id: the one the client sent, if it is usable."""
    known: str | None = getattr(request, "rollcall_id", None)
    if known is None:
        known = id_of_request(request.META.get("HTTP_X_REQUEST_ID", ""))
        request.rollcall_id = known  # type: ignore[attr-defined]
    return known


def id_of_request(given: str) -> str:
    """The given id if it is safe to log unchanged, otherwise a new one.

    Every response has an id. It need not be hard to guess, and uuid4 would take five times as long.
    """
    return given if _given_id.fullmatch(given) else f"{getrandbits(128):032x}"


def current_request() -> HttpRequest | None:
    """The request that is being handled; None if there is none."""
    return _request.get()


def _facts(request: HttpRequest) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "method": request.method,
        "path": _path(request),
        "address": client_address(request),
        "request_id": request_id(request),
    }
    user: Any = getattr(request, "user", None)
    # If a device's key was used, the "user" is a Speaker, which has no primary key.
    if (pk := getattr(user, "pk", None)) is not None:
        facts |= {"user": pk, "username": user.get_username()}
    return facts


def _path(request: HttpRequest) -> str:
    """The path without the secret that is part of e-mailed links."""
    path = request.path
    given = request.resolver_match.kwargs if request.resolver_match else {}
    for name in SECRET_PARAMETERS & given.keys():
        path = path.replace(str(given[name]), "…")
    return path[:MAX_PATH]


class OriginMiddleware:
    """Makes the request the origin of changes made by its view, and adds its id to the response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with request_origin(request):
            response = self._get_response(request)
        response[REQUEST_ID_HEADER] = request_id(request)
        return response
