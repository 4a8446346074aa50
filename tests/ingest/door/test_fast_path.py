"""The ingest server's way past what Django does for pages."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path

from ingest.door.fast_path import FastPath
from tests.conftest import Fleet
from tests.waits import LIMIT_S


class Answer:
    """What a WSGI server is given."""

    status: int
    headers: dict[str, str]
    body: bytes


def broken(request: HttpRequest) -> HttpResponse:
    raise ValueError("of no use")


def away(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"later", status=503)


device_urlpatterns = [path("api/broken", broken), path("api/away", away)]
urlpatterns = device_urlpatterns
handler500 = "devices.http.problems.server_error"


@pytest.fixture
def door() -> FastPath:
    return FastPath(WSGIHandler())


@pytest.fixture
def other_door(settings: LazySettings) -> FastPath:
    settings.ROOT_URLCONF = __name__
    return FastPath(WSGIHandler())


def ask(door: FastPath, where: str, body: bytes = b"", **environ: Any) -> Answer:
    answer = Answer()

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        answer.status, answer.headers = int(status.split()[0]), dict(headers)

    method = "POST" if body else "GET"
    given: dict[str, Any] = RequestFactory().generic(method, where).environ
    given |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    given |= {"wsgi.input": io.BytesIO(body), **environ}
    answer.body = b"".join(door(given, start_response))
    return answer


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_a_message_is_accepted_and_the_connection_to_the_database_given_back(
    acme: Fleet, door: FastPath
) -> None:
    held: list[object] = []

    class Body(io.BytesIO):
        """It may be long in coming, and nobody waits for it with a connection in hand."""

        def read(self, *args: Any) -> bytes:
            held.append(connection.connection)
            return super().read(*args)

    def accept() -> tuple[Answer, object]:
        key = {"HTTP_AUTHORIZATION": f"Bearer {acme.key}"}
        body = b'{"battery_pct": 71}'
        answer = ask(door, "/api/v1/heartbeats", body, **key, **{"wsgi.input": Body(body)})
        return answer, connection.connection

    with ThreadPoolExecutor(1) as pool:
        answer, left = pool.submit(accept).result(LIMIT_S)

    assert answer.status == 202
    assert json.loads(answer.body)["next_heartbeat_s"] == 60
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert left is None
    assert held == [None]


@pytest.mark.django_db(transaction=True)
def test_what_goes_wrong_is_named_while_developing(
    acme: Fleet, door: FastPath, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**kwargs: object) -> int:
        raise ZeroDivisionError("of no use")

    settings.DEBUG = True
    monkeypatch.setattr("ingest.door.views.heartbeat_accept", fail)
    headers = {"HTTP_AUTHORIZATION": f"Bearer {acme.key}", "HTTP_ACCEPT": "application/json"}
    answer = ask(door, "/api/v1/heartbeats", b"{}", **headers)
    assert answer.status == 500
    assert answer.body.startswith(b"ZeroDivisionError at /api/v1/heartbeats")


@pytest.mark.django_db
def test_a_refusal_says_why_and_how_to_show_a_key(door: FastPath) -> None:
    answer = ask(door, "/api/v1/readings", b"{}")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="rollcall"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.body)["detail"] == "Send a key as `Authorization: Bearer <key>`."


@pytest.mark.django_db(transaction=True)
def test_all_other_paths_are_pages(door: FastPath) -> None:
    answer = ask(door, "/accounts/login/")
    assert answer.status == 200
    assert b"<form" in answer.body
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize(("where", "status"), [("/api/broken", 500), ("/api/away", 503)])
def test_what_goes_wrong_on_our_side_is_logged(
    other_door: FastPath, caplog: pytest.LogCaptureFixture, where: str, status: int
) -> None:
    assert ask(other_door, where, b"{}").status == status
    (line,) = [one for one in caplog.records if one.name == "django.request"]
    assert where in line.getMessage()
