"""Rejected messages, as people see them."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from ingest.models import RejectedMessage
from ingest.templatetags.rejected import COUNTED
from telemetry.models import Reading
from tests.admin import SCOPE_QUERIES, client_of, confirmed, page, told_by
from tests.conftest import Fleet
from tests.ingest.rejected_pages import (
    CHANGE,
    LIST,
    MENDED,
    REPLAY,
    act,
    mended,
    notices,
    rejected,
    worked,
)
from tests.ingest.way import append, drain, now, reading
from tests.telemetry.past import moments

pytestmark = pytest.mark.usefixtures("valkey")


def test_pages_keep_to_their_budget_of_queries(
    acme: Fleet, rival: Fleet, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    (message, *_) = rejected(acme, 30)
    client = client_of(acme.manager)

    for name, args, budget in (
        (LIST, (), 5),
        (CHANGE, (message.pk,), 6),
        (REPLAY, (message.pk,), 5),
        ("ingest_ledger", (), 10),
        ("ingest_ledger_figures", (), 10),
    ):
        with django_assert_max_num_queries(budget + SCOPE_QUERIES):
            assert client.get(page(name, *args)).status_code == 200


def test_the_list_is_of_ones_own_tenants(acme: Fleet, rival: Fleet, operator: User) -> None:
    (foreign,) = rejected(acme)
    (own,) = rejected(rival)

    answer = client_of(rival.manager).get(page(LIST))

    assert [row.pk for row in answer.context["cl"].result_list] == [own.pk]
    assert b"acme" not in told_by(answer)
    everything = client_of(operator).get(page(LIST)).context["cl"].result_list
    assert {row.pk for row in everything} == {foreign.pk, own.pk}


def test_messages_of_another_tenant_are_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    (foreign,) = mended(acme)
    client = client_of(rival.manager)

    for url in (
        page(CHANGE, foreign.pk),
        page(REPLAY, foreign.pk),
        page("ingest_rejectedmessage_history", foreign.pk),
    ):
        for answer in (client.get(url), client.post(url, {"payload": MENDED})):
            assert answer.status_code in (302, 403)
            assert b"acme" not in told_by(answer)
    act(client, [foreign])

    assert RejectedMessage.objects.get().payload == foreign.payload
    assert not Reading.objects.exists()


def test_the_list_is_filtered_and_searched(acme: Fleet) -> None:
    first, second, third = rejected(acme, 3)
    RejectedMessage.objects.filter(pk=first.pk).update(replayed_at=now(), replayed_by="x")
    RejectedMessage.objects.filter(pk=second.pk).update(
        reason="unknown_device", kind="heartbeat", device=None, error="gone for good"
    )
    client = client_of(acme.manager)

    def shown(**asked: Any) -> set[int]:
        return {row.pk for row in client.get(page(LIST), asked).context["cl"].result_list}

    assert shown() == {first.pk, second.pk, third.pk}
    assert shown(replayed="yes") == {first.pk}
    assert shown(replayed="no") == {second.pk, third.pk}
    assert shown(reason__exact="unknown_device") == {second.pk}
    assert shown(kind__exact="reading") == {first.pk, third.pk}
    assert shown(q="acme-phone") == {first.pk, third.pk}
    assert shown(q="for good") == {second.pk}
    assert shown(q='"for good"') == {second.pk}
    assert shown(q="ACME-phone converted") == {first.pk, third.pk}
    assert shown(q="acme-phone good") == set()


def test_a_search_looks_through_devices_once_and_not_for_each_message(acme: Fleet) -> None:
    rejected(acme, 30)
    with CaptureQueriesContext(connection) as queries:
        client_of(acme.manager).get(page(LIST), {"q": "acme-phone"})
    (counting,) = (one["sql"] for one in queries if "COUNT(*)" in one["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ANALYZE {counting}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    (loops,) = re.findall(r"Scan .*on devices_device .* loops=(\d+)", plan)
    assert int(loops) == 1
    assert "Join" not in plan


def test_the_list_says_why_in_words(acme: Fleet) -> None:
    rejected(acme)
    content = client_of(acme.manager).get(page(LIST)).content.decode()

    assert "the database refused it" in content
    assert "cannot be converted to text" in content
    assert "acme-phone" in content


def test_messages_of_deleted_devices_have_a_page(acme: Fleet) -> None:
    """Whether the device went before or after its message was rejected."""
    rejected(acme)
    append(acme, reading(acme.device, now()))
    acme.device.delete()
    drain()
    client = client_of(acme.manager)

    assert client.get(page(LIST)).content.decode().count("deleted device acme-phone") == 2
    for message in RejectedMessage.objects.all():
        assert client.get(page(CHANGE, message.pk)).status_code == 200


def test_a_payload_is_mended_checked_and_kept_in_the_history(acme: Fleet) -> None:
    (message,) = rejected(acme)
    client = client_of(acme.manager)
    url = page(CHANGE, message.pk)

    refused = client.post(url, {"payload": '{"metrics": {"temp_c": NaN}}'})
    assert refused.status_code == 200
    assert "NaN, Infinity and numbers beyond 1.8e308" in refused.content.decode()

    assert client.post(url, {"payload": MENDED, "device": "", "reason": "x"}).status_code == 302
    message.refresh_from_db()
    assert (message.payload, message.reason) == (MENDED, "corrected")
    entry = LogEntry.objects.get()
    assert "Edited the payload, before:" in entry.change_message
    assert "\\u0000" in entry.change_message


def test_a_corrected_message_says_so_and_whose_error_that_is(acme: Fleet) -> None:
    (message,) = rejected(acme)
    client = client_of(acme.manager)
    url = page(CHANGE, message.pk)

    saved = client.post(url, {"payload": MENDED}, follow=True)

    assert f"reading {message.pk}, corrected" in notices(saved)[0]
    assert LogEntry.objects.get().object_repr == f"reading {message.pk}, corrected"
    for shown in (client.get(url).content.decode(), client.get(page(LIST)).content.decode()):
        assert f"before it was corrected: {message.error}" in shown.replace("&#x27;", "'")
        assert "the database refused it</span>" not in shown


def test_a_message_that_is_saved_as_it_is_was_not_corrected(acme: Fleet) -> None:
    (message,) = mended(acme)
    client = client_of(acme.manager)
    shown = client.get(page(CHANGE, message.pk)).context["adminform"].form["payload"].value()

    saved = client.post(page(CHANGE, message.pk), {"payload": shown.replace("\n", "\r\n")})

    assert saved.status_code == 302
    kept = RejectedMessage.objects.get()
    assert (kept.payload, kept.reason) == (message.payload, "invalid_data")
    assert LogEntry.objects.get().get_change_message() == "No fields changed."


def test_a_viewer_reads_and_changes_nothing(acme: Fleet, viewer: User) -> None:
    (message,) = mended(acme)
    client = client_of(viewer)

    answer = client.get(page(CHANGE, message.pk))
    assert answer.status_code == 200
    assert answer.context["actions_detail"] == []
    assert client.get(page("ingest_ledger")).status_code == 200
    assert client.post(page(CHANGE, message.pk), {"payload": "{}"}).status_code == 403
    assert client.post(page(REPLAY, message.pk)).status_code == 403
    act(client, [message])
    worked()

    assert not Reading.objects.exists()
    assert RejectedMessage.objects.get().payload == message.payload


def test_nobody_adds_or_deletes_messages(acme: Fleet, operator: User) -> None:
    (message,) = rejected(acme)
    client = client_of(operator)

    assert client.get(page("ingest_rejectedmessage_add")).status_code == 403
    delete = page("ingest_rejectedmessage_delete", message.pk)
    assert client.post(delete, {"post": "yes"}).status_code == 403
    gone = {"action": "delete_selected", "_selected_action": [message.pk]}
    confirmed(client, page(LIST), gone)
    assert RejectedMessage.objects.exists()


def test_the_page_of_a_device_that_waits_for_approval_leads_to_its_messages(acme: Fleet) -> None:
    device = Device.objects.create(tenant=acme.tenant, device_id="newcomer", is_pending=True)
    rejected(acme)
    client = client_of(acme.manager)
    url = page("devices_device_presence", device.pk)
    assert "until somebody approves it: none so far." in client.get(url).content.decode()

    append(acme, *(reading(device, time) for time in moments(2)), is_pending=True)
    drain()

    content = client.get(url).content.decode()
    (link,) = re.findall(r'href="([^"]+)">2 messages wait</a>', content)
    shown = client.get(unescape(link)).context["cl"].result_list
    assert [one.device_id for one in shown] == [device.pk, device.pk]


def test_the_page_of_a_device_counts_only_so_many_of_its_messages(acme: Fleet) -> None:
    device = Device.objects.create(tenant=acme.tenant, device_id="newcomer", is_pending=True)
    fields = {"tenant_id": acme.tenant.pk, "device_id": device.pk, "reason": "pending_device"}
    RejectedMessage.objects.bulk_create(
        RejectedMessage(**fields, kind="reading", received_at=now(), shard=0)
        for _ in range(COUNTED)
    )
    client = client_of(acme.manager)
    url = page("devices_device_presence", device.pk)
    assert ">10,000 messages wait</a>" in client.get(url).content.decode()

    RejectedMessage.objects.create(**fields, kind="reading", received_at=now(), shard=0)
    assert ">more than 10,000 messages wait</a>" in client.get(url).content.decode()
