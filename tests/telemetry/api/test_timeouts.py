from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from devices.tenancy.access import Role
from telemetry.api import timeouts
from telemetry.sql import reading_history
from telemetry.sql.reading_history import Window
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send
from tests.telemetry.api.test_exports import FILL


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["csv", "csv&metric=temp_c", "ndjson"])
def test_a_file_that_takes_too_long_to_read_is_given_up_in_words(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def slow(cursor: Any, window: Window, *, rows_at_once: int) -> Iterator[Any]:
        cursor.execute("SELECT pg_sleep(60)")
        yield cursor.fetchmany(1)

    monkeypatch.setattr(timeouts, "TIMEOUT_S", 1)
    monkeypatch.setattr(reading_history, "whole", slow)
    path = f"devices/acme-phone/readings?format={kind}"
    problem = assert_problem(send(member(acme, Role.VIEWER), "get", path), 400)
    assert "This takes longer than 1 s" in problem["errors"][0]["reason"]


def test_what_takes_too_long_is_given_up_in_words(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "TIMEOUT_S", 0.001)
    with connection.cursor() as cursor:
        cursor.execute(FILL, [acme.device.pk, acme.tenant.pk])
    answer = send(member(acme, Role.VIEWER), "get", "devices/acme-phone/readings?bucket=1m")
    assert "shorter period" in assert_problem(answer, 400)["errors"][0]["reason"]
