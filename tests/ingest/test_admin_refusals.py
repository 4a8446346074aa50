"""Refused messages in the admin, and unknown keys for operators."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from devices.models import Device
from devices.tenancy.access import Role
from ingest.door.unknown_keys import Tries, unknown_keys_add
from ingest.models import Refusal
from tests.admin import SCOPE_QUERIES, client_of, page, person
from tests.conftest import Fleet
from tests.ingest.door.refusing import refusal_add

pytestmark = pytest.mark.usefixtures("valkey")
LIST = "ingest_refusal_changelist"
PAGE = "ingest_refusal_change"
Code = Refusal.Code


def test_the_list_says_what_was_refused(acme: Fleet, rival: Fleet) -> None:
    for code in Code:
        refusal_add(acme, code, device=acme.device if code != Code.BACKLOG else None)
    refusal_add(rival, Code.TENANT_RATE, reason="9 messages a second")

    content = client_of(acme.manager).get(page(LIST)).content.decode()

    assert "`battery_pct` 255: expected at most 100" in content
    assert "tried 7 times with `battery_pct` 255" in content
    assert "accepted without `battery_pct` 255" in content
    assert "all devices" in content
    assert all(code.label.replace("'", "&#x27;") in content for code in Code)
    assert "9 messages" not in content and "rival" not in content.lower()


def test_the_page_shows_the_sample(acme: Fleet) -> None:
    sample = '{"battery_pct": 255, "note": "<script>"}'
    refusal = refusal_add(acme, Code.INVALID, device=acme.device, sample=sample)
    unread = refusal_add(acme, Code.TOO_LARGE, device=acme.device, sample="")
    client = client_of(acme.manager)

    content = client.get(page(PAGE, refusal.pk)).content.decode()

    assert "&quot;battery_pct&quot;: 255" in content
    assert "&lt;script&gt;" in content
    assert "the message was not read" in client.get(page(PAGE, unread.pk)).content.decode()


def test_the_list_is_filtered(acme: Fleet, rival: Fleet, operator: User) -> None:
    long_ago = timezone.now() - timedelta(days=3)
    of_device = refusal_add(acme, Code.DEVICE_RATE, device=acme.device)
    of_tenant = refusal_add(acme, Code.TENANT_RATE, minute=long_ago, last_at=long_ago)
    of_rival = refusal_add(rival, Code.BACKLOG)
    client = client_of(operator)

    def shown(**asked: Any) -> set[int]:
        return {row.pk for row in client.get(page(LIST), asked).context["cl"].result_list}

    assert shown() == {of_device.pk, of_tenant.pk, of_rival.pk}
    assert shown(code__exact="tenant_rate") == {of_tenant.pk}
    assert shown(tenant__id__exact=rival.tenant.pk) == {of_rival.pk}
    assert shown(device__id__exact=acme.device.pk) == {of_device.pk}
    assert shown(since="hour") == shown(since="day") == {of_device.pk, of_rival.pk}
    assert shown(since="week") == {of_device.pk, of_tenant.pk, of_rival.pk}
    assert shown(q="acme-phone") == {of_device.pk}
    assert shown(q="battery_pct") == shown()


def test_nobody_changes_refusals(acme: Fleet, operator: User) -> None:
    refusal = refusal_add(acme, Code.TENANT_RATE)

    for user in (operator, person("owner", (acme.tenant, Role.OWNER))):
        client = client_of(user)
        assert client.get(page("ingest_refusal_change", refusal.pk)).status_code == 200
        for url in (
            page("ingest_refusal_change", refusal.pk),
            page("ingest_refusal_delete", refusal.pk),
            page("ingest_refusal_add"),
        ):
            assert client.post(url, {"refused": 0, "post": "yes"}).status_code == 403
    assert Refusal.objects.get().count == 7


def test_a_refusal_of_another_tenant_is_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    refusal = refusal_add(acme, Code.TENANT_RATE)
    client = client_of(rival.manager)

    for view in ("change", "history"):
        answer = client.get(page(f"ingest_refusal_{view}", refusal.pk))
        assert answer.status_code in (302, 403)
    assert list(client.get(page(LIST)).context["cl"].result_list) == []


def test_pages_keep_to_their_budget_of_queries(
    acme: Fleet, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for minutes in range(30):
        minute = timezone.now() - timedelta(minutes=minutes)
        refusal_add(acme, Code.DEVICE_RATE, device=acme.device, minute=minute)
    client = client_of(acme.manager)

    with django_assert_max_num_queries(5 + SCOPE_QUERIES):
        assert client.get(page(LIST)).status_code == 200


def test_the_page_of_a_device_shows_what_was_refused(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_presence", acme.device.pk)
    assert "Refused messages <span>" not in client.get(url).content.decode()
    refusal_add(acme, Code.DEVICE_RATE, device=acme.device, count=1234)

    content = client.get(url).content.decode()

    assert "Refused messages <span>" in content
    assert "1,234 messages" in content
    assert "`battery_pct` 255: expected at most 100" in content


def test_a_device_is_deleted_with_its_refusals(acme: Fleet) -> None:
    refusal_add(acme, Code.DEVICE_RATE, device=acme.device)
    url = page("devices_device_delete", acme.device.pk)

    assert client_of(acme.manager).post(url, {"post": "yes"}).status_code == 302
    assert not Device.objects.filter(pk=acme.device.pk).exists()
    assert not Refusal.objects.exists()


def test_operators_see_unknown_keys(acme: Fleet, operator: User) -> None:
    unknown_keys_add({"rc_abcdefghij_…": Tries(1234, "10.0.0.7")})

    client = client_of(operator)
    content = client.get(page("ingest_unknown_keys")).content.decode()

    assert "rc_abcdefghij_…" in content
    assert "1,234" in content and "10.0.0.7" in content
    assert page("ingest_unknown_keys") in client.get(page(LIST)).content.decode()


def test_nobody_else_sees_unknown_keys(acme: Fleet) -> None:
    client = client_of(person("owner", (acme.tenant, Role.OWNER)))

    assert client.get(page("ingest_unknown_keys")).status_code == 403
    assert page("ingest_unknown_keys") not in client.get(page(LIST)).content.decode()
