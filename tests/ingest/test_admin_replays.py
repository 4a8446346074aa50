"""Rejected messages are replayed in the admin, which shows the result for each."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from devices.models import Device
from ingest.admin import STOPPED
from ingest.models import RejectedMessage
from ingest.storage.replay import ReplayOutcome, approved_replay, requested_replay
from telemetry.models import Reading
from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.ingest.rejected_pages import (
    CHANGE,
    LIST,
    MENDED,
    REPLAY,
    SAVE_AND_REPLAY,
    act,
    mended,
    notices,
    rejected,
    worked,
)
from tests.ingest.way import append, drain, ledger, now, reading

pytestmark = pytest.mark.usefixtures("valkey")


def test_a_message_is_replayed_only_by_posting(acme: Fleet) -> None:
    (message,) = mended(acme)
    client = client_of(acme.manager)
    url = page(REPLAY, message.pk)

    assert client.get(url).status_code == 200
    assert not Reading.objects.exists()

    answer = client.post(url, follow=True)
    assert notices(answer) == ["Replaying 1 message."]
    assert "replay requested by acme-manager" in answer.content.decode()
    assert worked() == ReplayOutcome(stored=1)
    assert Reading.objects.count() == 1
    message.refresh_from_db()
    assert message.replayed_by == "acme-manager"
    assert LogEntry.objects.get().change_message == "Requested a replay."
    assert ledger(acme) == {"accepted": 1, "stored": 1, "late": 1, "replayed": 1}


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
    assert LogEntry.objects.filter(change_message="Requested a replay.").count() == 3
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


def test_bulk_replays_leave_out_what_one_may_only_see(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    messages = mended(acme) + mended(rival)

    answer = act(client_of(consultant), messages)

    assert notices(answer) == ["Replaying 1 message."]
    worked()
    assert Reading.objects.get().tenant_id == acme.tenant.pk


def test_approval_in_the_list_lets_held_messages_in(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    append(acme, reading(acme.device, now()), is_pending=True)
    drain()
    client = client_of(acme.manager)

    client.post(page("devices_device_approve", acme.device.pk))
    approved_replay(ts=timezone.now())

    assert Reading.objects.count() == 1


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
    assert [words.split(",")[0] for words in entries] == [
        "Edited the payload",
        "Requested a replay.",
    ]
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
