"""What people do with devices in the admin: keys, pauses, approvals."""

from django.contrib.auth.models import User
from django.utils import timezone

from devices.fleet.keys import speaker_for_key
from devices.models import Device
from telemetry.models import DeviceStatus
from telemetry.presence.pausing import presence_pause
from telemetry.presence.refusing import RefusedContact, refused_note
from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.monitoring.admin_actions import LIST, act, ask, reasons_of


def test_a_key_is_shown_once_and_works(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_issue_key", acme.device.pk)

    assert client.get(url).status_code == 200
    assert acme.device.credentials.count() == 1

    answer = client.post(url, {"label": "bench"})
    key = answer.context["key"]
    assert f"Bearer {key}" in answer.content.decode().replace("&#x27;", "'")
    assert "no-store" in answer["Cache-Control"]
    speaking = speaker_for_key(key)
    assert speaking is not None and speaking.id == acme.device.pk

    again = client.get(page("devices_device_change", acme.device.pk)).content.decode()
    assert key not in again
    assert key.split("_")[1] in again


def test_pausing_needs_a_reason_and_says_who_and_why(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_pause", acme.device.pk)

    assert client.get(url).status_code == 200
    assert b"This field is required." in client.post(url, {"why": ""}).content
    assert reasons_of(acme.device) == []

    assert client.post(url, {"why": "battery swap"}).status_code == 302
    assert reasons_of(acme.device) == [("paused", "paused by acme-manager: battery swap")]


def test_resuming_is_done_only_by_posting(acme: Fleet) -> None:
    presence_pause(device_ids=[acme.device.pk], by="x", why="", ts=timezone.now())
    client = client_of(acme.manager)
    url = page("devices_device_resume", acme.device.pk)

    assert client.get(url).status_code == 200
    assert DeviceStatus.objects.get(device=acme.device).state == "paused"

    assert client.post(url).status_code == 302
    assert DeviceStatus.objects.get(device=acme.device).state == "new"


def test_only_what_there_is_to_do_is_offered(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_change", acme.device.pk)

    def offered() -> list[str]:
        return [one["title"] for one in client.get(url).context["actions_detail"]]

    assert offered() == ["Issue key", "Pause"]
    presence_pause(device_ids=[acme.device.pk], by="x", why="", ts=timezone.now())
    assert offered() == ["Issue key", "Resume"]


def test_devices_are_paused_together_after_asking_why(acme: Fleet) -> None:
    probe = Device.objects.create(tenant=acme.tenant, device_id="acme-probe")
    client = client_of(acme.manager)

    asked = ask(client, "pause_selected", [acme.device, probe])
    assert asked.status_code == 200
    assert reasons_of(probe) == []
    assert ("_selected_action", str(probe.pk)) in asked.context["question"].repeated

    assert act(client, "pause_selected", [acme.device, probe], why="moving").status_code == 302
    for device in (acme.device, probe):
        assert reasons_of(device) == [("paused", "paused by acme-manager: moving")]

    act(client, "resume_selected", [acme.device, probe])
    assert [state for state, _ in reasons_of(probe)] == ["paused", "new"]


def test_bulk_actions_leave_out_what_one_may_only_see(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    act(client_of(consultant), "pause_selected", [acme.device, rival.device], why="moving")

    assert [state for state, _ in reasons_of(acme.device)] == ["paused"]
    assert reasons_of(rival.device) == []


def test_pending_devices_are_seen_in_the_list_and_on_their_page(
    pending: Device, acme: Fleet
) -> None:
    client = client_of(acme.manager)

    content = client.get(page(LIST)).content
    assert content.count(b'data-state="pending"') == 1
    assert b"registered itself; its messages are held until somebody approves it" in content
    shown = client.get(page(LIST), {"is_pending__exact": 1}).context["cl"].result_list
    assert [row.device_id for row in shown] == ["newcomer"]
    detail = client.get(page("devices_device_change", pending.pk))
    assert b"until somebody approves it" in detail.content
    assert "Approve" in [one["title"] for one in detail.context["actions_detail"]]


def test_a_device_is_approved_only_by_posting(pending: Device, acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_approve", pending.pk)

    assert client.get(url).status_code == 200
    assert Device.objects.get(pk=pending.pk).is_pending is True

    assert client.post(url).status_code == 302
    assert Device.objects.get(pk=pending.pk).is_pending is False
    history = client.get(page("devices_device_history", pending.pk)).content
    assert b"Approved." in history


def test_devices_are_approved_together_where_one_is_a_manager(
    pending: Device, acme: Fleet, rival: Fleet, consultant: User, viewer: User
) -> None:
    foreign = Device.objects.create(tenant=rival.tenant, device_id="other", is_pending=True)
    act(client_of(viewer), "approve_selected", [pending])
    act(client_of(rival.manager), "approve_selected", [pending])
    assert (
        client_of(rival.manager).post(page("devices_device_approve", pending.pk)).status_code == 403
    )
    assert Device.objects.get(pk=pending.pk).is_pending is True

    act(client_of(consultant), "approve_selected", [pending, foreign, acme.device])

    assert Device.objects.get(pk=pending.pk).is_pending is False
    assert Device.objects.get(pk=foreign.pk).is_pending is True


def test_a_pause_may_have_an_end(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_device_pause", acme.device.pk)

    past = client.post(url, {"why": "x", "until_0": "2020-01-01", "until_1": "08:00"})
    assert b"This time has passed" in past.content
    half = client.post(url, {"why": "x", "until_0": "2126-12-24"})
    assert b"Enter a valid time." in half.content
    assert reasons_of(acme.device) == []

    form = {"why": "Christmas", "until_0": "2126-12-24", "until_1": "08:00"}
    assert client.post(url, form).status_code == 302
    reason = "paused by acme-manager until 2126-12-24 08:00 UTC: Christmas"
    assert reasons_of(acme.device) == [("paused", reason)]


def test_devices_are_paused_together_until_a_time(acme: Fleet) -> None:
    client = client_of(acme.manager)

    fields = {"why": "Christmas", "until_0": "2126-12-24", "until_1": "08:00"}
    assert act(client, "pause_selected", [acme.device], **fields).status_code == 302

    paused_until = DeviceStatus.objects.get(device=acme.device).paused_until
    assert paused_until is not None and paused_until.year == 2126


def test_refused_devices_are_found_by_their_state(acme: Fleet) -> None:
    other = Device.objects.create(tenant=acme.tenant, device_id="acme-probe")
    now = timezone.now()
    contact = RefusedContact(other.pk, other.tenant_id, now, 1, "`x` unknown", "{}")
    refused_note(contacts=[contact], collected_until=now)
    client = client_of(acme.manager)

    found = client.get(page(LIST), {"status__state__exact": "refused"})
    assert [one.pk for one in found.context["cl"].result_list] == [other.pk]
    assert "speaks, but 1 message was refused at" in found.content.decode()
    counts = {one.state: one.devices for one in found.context["state_counts"]}
    assert counts["refused"] == 1
    first = client.get(page("index"))
    assert [one.device_id for one in first.context["in_trouble"]] == [other.pk]
