"""The ingest server's fast path, which skips what Django does for pages."""

import io
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from config.logs.requests import NamesRequest
from ingest.door.fast_path import FastPath
from tests.conftest import Fleet
from tests.waits import LIMIT_S

log = logging.getLogger(__name__)


class Answer:
    """What a WSGI server is given."""

    status: int
    headers: dict[str, str]
    body: bytes


def broken(request: HttpRequest) -> HttpResponse:
    log.info("this will not do")
    raise ValueError("of no use")


def away(request: HttpRequest) -> HttpResponse:
    log.info("nobody is there")
    return HttpResponse(b"later", status=503)


device_urlpatterns = [path("api/broken", broken), path("api/away", away)]
urlpatterns = [*device_urlpatterns, path("admin/", admin.site.urls)]
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
        """The body may arrive slowly, and no database connection is held while waiting."""

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


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey")
def test_each_answer_to_a_device_names_its_request(acme: Fleet, door: FastPath) -> None:
    key: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {acme.key}"}
    answers = [
        ask(door, "/api/v1/heartbeats", b"{}", **key),
        ask(door, "/api/v1/heartbeats", b"not JSON", **key),
        ask(door, "/api/v1/heartbeats", b"{}"),
        ask(door, "/api/v1/heartbeats", **key),
        ask(door, "/api/v1/heartbeats", b" " * 1_000_000, **key),
        ask(door, "/api/v1/heartbeats", b"{}", **key | {"CONTENT_TYPE": "text/html"}),
        ask(door, "/api/v1/heartbeats/", b"{}", **key),
        ask(door, "/api/v1/heartbeats/x", b"{}", **key),
    ]
    assert [one.status for one in answers] == [202, 400, 401, 405, 413, 415, 202, 404]
    assert len({one.headers["X-Request-ID"] for one in answers}) == len(answers)


@pytest.mark.parametrize(("where", "status"), [("/api/broken", 500), ("/api/away", 503)])
@pytest.mark.parametrize("is_in_portal", [False, True])
def test_what_goes_wrong_is_answered_and_logged_with_the_requests_id(
    other_door: FastPath,
    caplog: pytest.LogCaptureFixture,
    where: str,
    status: int,
    *,
    is_in_portal: bool,
) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(NamesRequest())
    given = "4bf92f35:probe_1/7"
    if is_in_portal:
        client = Client(raise_request_exception=False, headers={"X-Request-ID": given})
        answer = client.post(where, b"{}", content_type="application/json")
        known = answer.status_code, answer["X-Request-ID"]
    else:
        told = ask(other_door, where, b"{}", HTTP_X_REQUEST_ID=given)
        known = told.status, told.headers["X-Request-ID"]

    assert known == (status, given)
    lines = [one for one in caplog.records if one.name in (__name__, "django.request")]
    assert {getattr(one, "of_request", None) for one in lines} == {f" [request {given}]"}
    assert {__name__, "django.request"} == {one.name for one in lines}


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "<b>", "line\nbreak", "ä"])
def test_an_id_that_is_no_good_is_replaced(other_door: FastPath, given: str) -> None:
    answer = ask(other_door, "/api/away", b"{}", HTTP_X_REQUEST_ID=given)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.mark.parametrize(("where", "status"), [("/api/broken", 500), ("/api/away", 503)])
def test_what_goes_wrong_on_our_side_is_logged(
    other_door: FastPath, caplog: pytest.LogCaptureFixture, where: str, status: int
) -> None:
    assert ask(other_door, where, b"{}").status == status
    (line,) = [one for one in caplog.records if one.name == "django.request"]
    assert where in line.getMessage()
