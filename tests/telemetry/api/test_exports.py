"""Messages exported as CSV or NDJSON."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import IO, Any

import pytest
from django.db import OperationalError

from devices.http.quotas import Quota
from devices.tenancy.access import Role
from devices.tenancy.scope import open_tenant_ids
from telemetry.api import exports
from telemetry.sql import reading_history
from telemetry.sql.reading_history import Window
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, device_of, member, send
from tests.telemetry.api.telling import body
from tests.telemetry.past import moment, moments, store

NDJSON = "devices/acme-phone/readings?format=ndjson"

FILL = """
INSERT INTO telemetry_reading (device_id, tenant_id, time, received_at, msg_type, metrics)
SELECT %s, %s, now() - n * interval '10 ms', now(), 'x', '{"a": 1}'
FROM generate_series(1, 20000) n
"""


@pytest.mark.django_db(transaction=True)
class TestFiles:
    def test_ndjson_comes_by_accept_too_oldest_first(self, acme: Fleet) -> None:
        for n, time in enumerate(moments(3)):
            store(acme.device, time, {"n": n})
        answer = send(
            member(acme, Role.VIEWER),
            "get",
            "devices/acme-phone/readings",
            HTTP_ACCEPT="application/x-ndjson",
        )
        lines = [json.loads(line) for line in body(answer).splitlines()]
        assert [one["metrics"]["n"] for one in lines] == [2, 1, 0]

    def test_the_name_of_the_file_is_of_what_was_asked(self, acme: Fleet) -> None:
        device = device_of(acme.tenant, "a:b@c")
        answer = send(
            member(acme, Role.VIEWER),
            "get",
            f"devices/{device.device_id}/readings?format=csv&start=2026-06-01T00:00:00Z"
            "&end=2026-06-02T00:00:00Z",
        )
        body(answer)
        name = "readings-a:b@c-20260601T000000Z-20260602T000000Z.csv"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'

    def test_more_metrics_than_columns_have_to_be_named(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at = moment()
        for n in range(4):
            store(acme.device, at - timedelta(seconds=n), {f"m{n}-{k}": 1 for k in range(60)})
        client = member(acme, Role.VIEWER)
        problem = assert_problem(send(client, "get", "devices/acme-phone/readings?format=csv"), 400)
        assert "name the ones you want" in problem["errors"][0]["reason"]

    def test_a_file_is_read_within_the_scope_and_has_its_length(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scopes: list[frozenset[int] | None] = []

        def whole(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            try:
                yield from real_whole(cursor, window, rows_at_once=rows_at_once)
            finally:
                scopes.append(open_tenant_ids())

        real_whole = reading_history.whole
        monkeypatch.setattr(reading_history, "whole", whole)
        store(acme.device, moment(), {"temp_c": 1})

        answer = send(member(acme, Role.VIEWER), "get", NDJSON)

        assert scopes == [frozenset([acme.tenant.pk])]
        assert int(answer["Content-Length"]) == len(body(answer)) > 0

    def test_as_many_as_a_person_has_not_read_may_be_asked_for(self, acme: Fleet) -> None:
        client, other = member(acme, Role.VIEWER), member(acme, Role.OWNER)
        unread = [send(client, "get", NDJSON) for _ in range(exports.OF_ONE_PERSON)]
        refused = send(client, "get", NDJSON)
        assert "You have 2 exports" in assert_problem(refused, 429)["detail"]
        assert refused["Retry-After"] == "10"
        assert send(other, "get", NDJSON).status_code == 200
        unread[0].close()
        assert send(client, "get", NDJSON).status_code == 200

    def test_so_many_are_made_at_once_and_one_more_is_a_warning(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(exports, "_made", Quota(1))
        store(acme.device, moment(), {"temp_c": 1})
        client, answers = member(acme, Role.OWNER), []

        def whole(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            answers.append(send(client, "get", NDJSON))
            yield from ()

        monkeypatch.setattr(reading_history, "whole", whole)
        assert send(member(acme, Role.VIEWER), "get", NDJSON).status_code == 200
        assert [one.status_code for one in answers] == [503]
        (line,) = [one for one in caplog.records if getattr(one, "status_code", None) == 503]
        assert (line.levelname, line.exc_info) == ("WARNING", None)
        assert line.getMessage().endswith(
            "/readings: Too many exports are in progress; try again in a few seconds."
        )

    def test_one_that_cannot_be_made_whole_is_an_error_and_leaves_its_place(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
            yield from real_whole(cursor, window, rows_at_once=rows_at_once)
            raise OperationalError("the database went away")

        def full() -> IO[bytes]:
            return open("/dev/full", "wb")

        real_whole = reading_history.whole
        store(acme.device, moment(), {"temp_c": 1})
        client = member(acme, Role.VIEWER)
        for target, name, put, code, words in (
            (reading_history, "whole", broken, 503, "database is unavailable"),
            (exports, "TemporaryFile", full, 503, "not enough disk space for this file"),
            (exports, "MAX_BYTES", 10, 400, "Some fields"),
            (exports, "MAX_S", -1, 400, "Some fields"),
        ):
            with monkeypatch.context() as machine:
                machine.setattr(target, name, put)
                for _ in range(exports.OF_ONE_PERSON + 1):
                    assert words in assert_problem(send(client, "get", NDJSON), code)["detail"]
        assert body(send(client, "get", NDJSON))
