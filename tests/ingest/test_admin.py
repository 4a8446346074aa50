"""Rejected messages and the ledger's page, as people see them."""

import re
from collections.abc import Callable, Sequence
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device
from devices.tenancy.access import Role
from ingest.admin import STOPPED
from ingest.models import LedgerMinute, RejectedMessage
from ingest.storage.replay import ReplayOutcome, approved_replay, requested_replay
from ingest.templatetags.rejected import COUNTED
from telemetry.models import Reading
from tests.admin import SCOPE_QUERIES, client_of, page, person, told_by
from tests.conftest import Fleet
from tests.ingest.way import REFUSED, append, drain, ledger, now, reading, seconds_ago
from tests.telemetry.past import moments

pytestmark = pytest.mark.usefixtures("valkey")
LIST = "ingest_rejectedmessage_changelist"
CHANGE = "ingest_rejectedmessage_change"
REPLAY = "ingest_rejectedmessage_replay"
SAVE_AND_REPLAY = "ingest_rejectedmessage_save_and_replay"
MENDED = '{"metrics": {"temp_c": 3}}'


@pytest.fixture
def viewer(acme: Fleet) -> User:
    return person("acme-viewer", (acme.tenant, Role.VIEWER))


@pytest.fixture
def consultant(acme: Fleet, rival: Fleet) -> User:
    """A manager of one tenant who only looks at the other."""
    return person("consultant", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER))


def rejected(fleet: Fleet, count: int = 1) -> list[RejectedMessage]:
    append(fleet, *(reading(fleet.device, time, REFUSED) for time in moments(count)))
    drain()
    return list(RejectedMessage.objects.filter(tenant=fleet.tenant).order_by("pk"))


def mended(fleet: Fleet, count: int = 1) -> list[RejectedMessage]:
    messages = rejected(fleet, count)
    for n, one in enumerate(messages):
        one.payload = f'{{"seq": {n}, "time": {n + 1767225600}, "metrics": {{"temp_c": 3}}}}'
        one.save()
    return messages


def act(client: Client, messages: Sequence[RejectedMessage], **fields: str) -> Any:
    chosen = {"action": "replay_selected", "_selected_action": [one.pk for one in messages]}
    return client.post(page(LIST), chosen | fields, follow=True)


def worked() -> ReplayOutcome:
    """What the worker does within seconds."""
    return requested_replay(ts=timezone.now())


def notices(answer: Any) -> list[str]:
    return [str(one) for one in answer.context["messages"]]


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
    assert "Edited the payload, which was:" in entry.change_message
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


def test_a_message_is_replayed_only_by_posting(acme: Fleet) -> None:
    (message,) = mended(acme)
    client = client_of(acme.manager)
    url = page(REPLAY, message.pk)

    assert client.get(url).status_code == 200
    assert not Reading.objects.exists()

    answer = client.post(url, follow=True)
    assert notices(answer) == ["Replaying 1 message."]
    assert "replay asked for by acme-manager" in answer.content.decode()
    assert worked() == ReplayOutcome(stored=1)
    assert Reading.objects.count() == 1
    message.refresh_from_db()
    assert message.replayed_by == "acme-manager"
    assert LogEntry.objects.get().change_message == "Had it replayed."
    assert ledger(acme) == {"accepted": 1, "stored": 1, "late": 1, "replayed": 1}


def test_one_button_saves_a_correction_and_replays_it(acme: Fleet) -> None:
    (message,) = rejected(acme)
    client = client_of(acme.manager)
    url = page(CHANGE, message.pk)
    assert "Save and replay" in client.get(url).content.decode()

    wrong = client.post(url, {"payload": '{"metrics": {"temp_c": NaN}}', SAVE_AND_REPLAY: ""})
    assert wrong.status_code == 200
    assert "NaN, Infinity and numbers beyond 1.8e308" in wrong.content.decode()
    assert RejectedMessage.objects.get().replay_requested_by == ""

    answer = client.post(url, {"payload": MENDED, SAVE_AND_REPLAY: ""}, follow=True)
    assert answer.redirect_chain == [(url, 302)]
    assert notices(answer) == ["Replaying 1 message."]
    entries = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert [words.split(",")[0] for words in entries] == ["Edited the payload", "Had it replayed."]
    assert worked() == ReplayOutcome(stored=1)
    assert Reading.objects.get().metrics == {"temp_c": 3}
    assert "Save and replay" not in client.get(url).content.decode()


def test_a_message_that_was_not_corrected_is_replayed_as_it_is(acme: Fleet) -> None:
    (message,) = rejected(acme)
    client = client_of(acme.manager)
    url = page(CHANGE, message.pk)
    shown = client.get(url).context["adminform"].form["payload"].value()

    client.post(url, {"payload": shown, SAVE_AND_REPLAY: ""})

    assert worked().rejected == 1
    assert "text with the character U+0000 cannot be stored" in client.get(url).content.decode()


def test_replaying_needs_the_form_of_this_site(acme: Fleet) -> None:
    (message,) = mended(acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.manager)

    assert client.post(page(REPLAY, message.pk)).status_code == 403
    assert not Reading.objects.exists()


def test_what_became_of_each_is_said(acme: Fleet) -> None:
    first, second, third = mended(acme, 3)
    RejectedMessage.objects.filter(pk=second.pk).update(payload=first.payload)
    RejectedMessage.objects.filter(pk=third.pk).update(payload="{}")
    client = client_of(acme.manager)

    answer = act(client, [first, second, third])

    assert notices(answer) == ["Replaying 3 messages."]
    assert worked() == ReplayOutcome(1, 1, 1, ("$.metrics: this field is missing",))
    assert "this field is missing" in client.get(page(LIST)).content.decode()
    assert LogEntry.objects.filter(change_message="Had it replayed.").count() == 3
    again = notices(act(client, [first, second, third]))
    assert again == [
        "Replaying 1 message.",
        "2 messages already replayed by acme-manager.",
    ]


def test_a_replay_that_fails_says_when_and_why(acme: Fleet) -> None:
    (message,) = mended(acme)
    RejectedMessage.objects.update(payload="{}")
    client = client_of(acme.manager)
    url = page(CHANGE, message.pk)
    assert "last replay" not in client.get(url).content.decode().lower()

    client.post(page(REPLAY, message.pk))
    at = timezone.now()
    requested_replay(ts=at)

    words = f"failed on {at:%Y-%m-%d %H:%M:%S} UTC: $.metrics: this field is missing"
    assert words in client.get(url).content.decode()
    assert f"failed {at:%Y-%m-%d %H:%M}" in client.get(page(LIST)).content.decode()

    client.post(url, {"payload": MENDED}, follow=True)
    client.post(page(REPLAY, message.pk), follow=True)
    assert worked() == ReplayOutcome(stored=1)
    assert "failed" not in client.get(url).content.decode()


def test_a_replay_that_goes_wrong_says_how_often_and_when_again_and_what_to_do_in_the_end(
    acme: Fleet,
) -> None:
    (message,) = mended(acme)
    client = client_of(acme.manager)
    at = timezone.now()

    def shown(**fields: Any) -> tuple[str, str]:
        fields |= {"replay_failed_at": at, "replay_error": "no space left on device"}
        RejectedMessage.objects.update(**fields)
        pages = (client.get(url).content.decode() for url in (page(CHANGE, message.pk), page(LIST)))
        one, several = pages
        return one, several

    one, several = shown(replay_failures=3, replay_due_at=at, replay_requested_by="kim")
    moment = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    words = f"failed on {moment}: no space left on device. Tried 3 times; next try: {moment}."
    assert words in one
    assert f"next try {moment}" in several

    one, several = shown(replay_failures=20, replay_due_at=None, replay_requested_by="")
    assert f"no space left on device. Tried 20 times; {STOPPED}" in one
    assert "no more tries after 20" in several
    stopped = client.get(page(LIST), {"replayed": "stopped"}).context["cl"].result_list
    assert [row.pk for row in stopped] == [message.pk]

    act(client, [message])
    assert worked() == ReplayOutcome(stored=1)


def test_replay_says_who_asked_for_it_before(acme: Fleet, operator: User) -> None:
    (message,) = mended(acme)
    client_of(acme.manager).post(page(REPLAY, message.pk))

    answer = client_of(operator).post(page(REPLAY, message.pk), follow=True)

    assert notices(answer) == ["1 message already being replayed for acme-manager."]
    assert LogEntry.objects.get().user == acme.manager
    worked()
    answer = client_of(operator).post(page(REPLAY, message.pk), follow=True)
    assert notices(answer) == ["1 message already replayed by acme-manager."]


def test_a_held_message_that_is_corrected_to_an_approved_device_waits_for_its_replay(
    acme: Fleet,
) -> None:
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    heir = Device.objects.create(tenant=acme.tenant, device_id="heir")
    append(acme, reading(acme.device, now()), is_pending=True)
    drain()
    message = RejectedMessage.objects.get()
    client = client_of(acme.manager)

    payload = message.payload.replace("acme-phone", "heir")
    client.post(page(CHANGE, message.pk), {"payload": payload}, follow=True)
    assert approved_replay(ts=timezone.now()) == ReplayOutcome()
    answer = client.post(page(REPLAY, message.pk), follow=True)

    assert notices(answer) == ["Replaying 1 message."]
    assert approved_replay(ts=timezone.now()) == ReplayOutcome()
    worked()
    assert Reading.objects.get().device_id == heir.pk
    assert "by acme-manager" in client.get(page(CHANGE, message.pk)).content.decode()


def test_a_replayed_message_is_read_only(acme: Fleet) -> None:
    (message,) = mended(acme)
    client = client_of(acme.manager)
    client.post(page(REPLAY, message.pk))
    worked()

    answer = client.get(page(CHANGE, message.pk))

    assert answer.status_code == 200
    assert answer.context["has_change_permission"] is False
    assert answer.context["actions_detail"] == []
    assert client.post(page(CHANGE, message.pk), {"payload": "{}"}).status_code == 403
    again = client.post(page(REPLAY, message.pk), follow=True)
    assert notices(again) == ["1 message already replayed by acme-manager."]
    assert Reading.objects.count() == 1


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


def test_bulk_replays_leave_out_what_one_may_only_see(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    messages = mended(acme) + mended(rival)

    answer = act(client_of(consultant), messages)

    assert notices(answer) == ["Replaying 1 message."]
    worked()
    assert Reading.objects.get().tenant_id == acme.tenant.pk


def test_nobody_adds_or_deletes_messages(acme: Fleet, operator: User) -> None:
    (message,) = rejected(acme)
    client = client_of(operator)

    assert client.get(page("ingest_rejectedmessage_add")).status_code == 403
    delete = page("ingest_rejectedmessage_delete", message.pk)
    assert client.post(delete, {"post": "yes"}).status_code == 403
    gone = {"action": "delete_selected", "_selected_action": [message.pk], "post": "yes"}
    client.post(page(LIST), gone)
    assert RejectedMessage.objects.exists()


def test_the_ledger_is_of_ones_own_tenants(
    acme: Fleet, rival: Fleet, operator: User, consultant: User
) -> None:
    append(acme, *(reading(acme.device, time) for time in moments(3)))
    append(rival, reading(rival.device, now()))
    drain()
    append(acme, reading(acme.device, seconds_ago(50)))

    def seen(user: User) -> tuple[int, int, list[str]]:
        context = client_of(user).get(page("ingest_ledger")).context
        minutes = sum(one.balance.accepted for one in context["minutes"])
        return context["day"].accepted, minutes, [one.name for one in context["tenants"]]

    assert seen(acme.manager) == (4, 4, ["Acme"])
    assert seen(rival.manager) == (1, 1, ["Rival"])
    assert seen(operator) == seen(consultant) == (5, 5, ["Acme", "Rival"])
    answer = client_of(rival.manager).get(page("ingest_ledger"))
    assert b"acme" not in told_by(answer)
    assert answer.context["day"].in_flight == 0


def test_the_ledger_says_whether_it_balances(acme: Fleet, rival: Fleet) -> None:
    at = seconds_ago(900)
    append(acme, reading(acme.device, at), received_at=at)
    drain()
    client = client_of(acme.manager)
    assert "balanced" in client.get(page("ingest_ledger_figures")).content.decode()

    LedgerMinute.objects.filter(tenant=acme.tenant).update(stored=0)

    assert "1 unaccounted for" in client.get(page("ingest_ledger")).content.decode()
    assert client_of(rival.manager).get(page("ingest_ledger")).context["residual"] == 0


def test_the_ledger_is_for_members(acme: Fleet) -> None:
    newcomer = person("newcomer")
    for name in ("ingest_ledger", "ingest_ledger_figures"):
        assert client_of(newcomer).get(page(name)).status_code == 403
        assert Client().get(page(name)).status_code == 302


def test_approval_in_the_list_lets_held_messages_in(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    append(acme, reading(acme.device, now()), is_pending=True)
    drain()
    client = client_of(acme.manager)

    client.post(page("devices_device_approve", acme.device.pk))
    approved_replay(ts=timezone.now())

    assert Reading.objects.count() == 1


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
