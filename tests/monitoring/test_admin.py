import json
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.admin.base import FoundByKey
from devices.fleet.keys import speaker_for_key
from devices.models import Device, Membership, Site
from devices.tenancy.access import Role
from devices.tenancy.scope import tenant_scope
from monitoring.pages.fleet import silent_now
from monitoring.pages.formatting import unparted
from telemetry.models import DeviceStatus, PresenceEvent
from telemetry.presence.pausing import presence_pause
from telemetry.presence.sweep import presence_sweep
from tests.admin import SCOPE_QUERIES, client_of, confirmed, page, person, told_by
from tests.conftest import Fleet
from tests.telemetry.heartbeats import heartbeat
from tests.telemetry.storing import heartbeats_store

LIST = "devices_device_changelist"


@pytest.fixture
def viewer(acme: Fleet) -> User:
    return person("acme-viewer", (acme.tenant, Role.VIEWER))


@pytest.fixture
def consultant(acme: Fleet, rival: Fleet) -> User:
    """A manager of one tenant who only looks at the other."""
    return person("consultant", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER))


@pytest.fixture
def silent(acme: Fleet) -> Device:
    """A device that was heard once and has been offline since."""
    now = timezone.now()
    seen = now - timedelta(seconds=200)
    beat = heartbeat(acme.device, seen, address="10.0.0.7", battery_pct=12, version="<b>7</b>")
    heartbeats_store(heartbeats=[beat])
    for age in range(190, -1, -10):
        ts = now - timedelta(seconds=age)
        presence_sweep(ts=ts, heard_until=ts)
    return acme.device


def reasons_of(device: Device) -> list[tuple[str, str]]:
    events = PresenceEvent.objects.filter(device=device).order_by("time")
    return list(events.values_list("state", "reason"))


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def act(client: Client, action: str, devices: Sequence[Device], **fields: str) -> Any:
    chosen = {"action": action, "index": "0", "_selected_action": [one.pk for one in devices]}
    return confirmed(client, page(LIST), chosen | fields)


def ask(client: Client, action: str, devices: Sequence[Device]) -> Any:
    chosen = {"action": action, "index": "0", "_selected_action": [one.pk for one in devices]}
    return client.post(page(LIST), chosen)


def test_the_list_needs_no_more_queries_for_more_devices(acme: Fleet) -> None:
    client = client_of(acme.manager)

    def add(count: int) -> None:
        first = Device.objects.count()
        Device.objects.bulk_create(
            Device(tenant=acme.tenant, site=acme.site, device_id=f"probe-{first + number:03}")
            for number in range(count)
        )

    add(10)
    few = queries_of(client, page(LIST))
    add(90)
    assert queries_of(client, page(LIST)) == few <= 6 + SCOPE_QUERIES


def add_devices(*fleets: Fleet, count: int) -> None:
    Device.objects.bulk_create(
        Device(tenant=one.tenant, device_id=f"probe-{n:04}") for n in range(count) for one in fleets
    )


def test_no_more_statuses_are_read_than_a_page_of_the_list_has(acme: Fleet, rival: Fleet) -> None:
    add_devices(acme, rival, count=3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE devices_device, telemetry_devicestatus")
    devices = Device.objects.select_related("status", "tenant").order_by("device_id", "-pk")
    with tenant_scope(tenant_ids=[acme.tenant.pk, rival.tenant.pk]):
        page_of_it: Any = FoundByKey(devices, 50).page(2)
        plan = page_of_it.object_list.explain(analyze=True)

    (found,) = re.findall(r"telemetry_devicestatus_pkey on .* rows=1 loops=(\d+)", plan)
    assert int(found) == 50


def test_pages_of_the_list_have_every_device_once_in_any_order(acme: Fleet, rival: Fleet) -> None:
    add_devices(acme, rival, count=60)
    client = client_of(person("both", (acme.tenant, Role.VIEWER), (rival.tenant, Role.VIEWER)))
    for order in ("", "1", "-1.-6", "4"):
        pages = [client.get(page(LIST), {"o": order, "p": number}) for number in (1, 2, 3)]
        shown = [device.pk for one in pages for device in one.context["cl"].result_list]
        assert sorted(shown) == list(Device.objects.order_by("pk").values_list("pk", flat=True))


def test_the_first_page_reads_no_more_of_the_silent_than_it_shows(acme: Fleet) -> None:
    add_devices(acme, count=3000)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_devicestatus SET state = 'late', last_seen = now()")
        cursor.execute("ANALYZE devices_device, telemetry_devicestatus")
    with CaptureQueriesContext(connection) as queries:
        assert len(silent_now(limit=25)) == 25
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ANALYZE {queries[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    (read,) = re.findall(r"devices_device_pkey on .* rows=1 loops=(\d+)", plan)
    assert int(read) == 25


def test_device_pages_keep_to_their_budget_of_queries(
    silent: Device, acme: Fleet, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    client = client_of(acme.manager)
    ContentType.objects.get_for_model(Device)  # kept by the process after its first page
    # Those of its past, which are read in binary, are not counted: see test_history.
    for name, args, budget in (
        ("devices_device_change", (silent.pk,), 10),
        ("devices_device_add", (), 7),
        ("devices_device_presence", (silent.pk,), 5),
        ("devices_device_issue_key", (silent.pk,), 5),
        ("devices_device_pause", (silent.pk,), 5),
        ("devices_device_counts", (), 4),
        ("devices_device_fleet", (), 6),
    ):
        with django_assert_max_num_queries(budget + SCOPE_QUERIES):
            assert client.get(page(name, *args)).status_code == 200


def test_the_list_says_in_which_state_each_device_is_and_why(silent: Device, acme: Fleet) -> None:
    content = client_of(acme.manager).get(page(LIST)).content.decode()

    assert 'data-state="offline"' in content
    assert "no message for 3 min, one expected every 60 s with 30 s grace" in content
    assert re.search(r"3 min \d\d s ago", content)
    assert "12 %" in content


def test_the_list_is_filtered_by_state(silent: Device, acme: Fleet) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="acme-probe")
    client = client_of(acme.manager)

    def shown(**asked: Any) -> list[str]:
        rows = client.get(page(LIST), asked).context["cl"].result_list
        return [row.device_id for row in rows]

    assert shown() == ["acme-phone", "acme-probe"]
    assert shown(status__state__exact="offline") == ["acme-phone"]
    assert shown(status__state__exact=["offline", "new"]) == ["acme-phone", "acme-probe"]
    assert shown(q="probe") == ["acme-probe"]
    assert shown(o="1")[0] == "acme-phone"


def test_an_empty_list_says_what_to_do(acme: Fleet) -> None:
    acme.device.delete()
    client = client_of(acme.manager)

    assert b"No devices yet: add one, then issue its key." in client.get(page(LIST)).content
    assert b"Nothing matches." in client.get(page(LIST), {"q": "x"}).content


@pytest.mark.parametrize("seen_id", ["", "-1", "x", "9" * 40])
def test_nothing_is_said_to_have_changed_when_it_is_not_known_what_was_seen(
    acme: Fleet, seen_id: str
) -> None:
    asked = {"seen_devices": "7", "seen_id": seen_id}
    answer = client_of(acme.manager).get(page("devices_device_counts"), asked)
    assert b"since this list was opened" not in answer.content


def test_who_loses_a_tenant_is_told_of_other_devices_and_of_none_deleted(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    client = client_of(consultant)
    listed = client.get(page(LIST)).context
    seen = {"seen_devices": 2, "seen_id": rival.device.pk, "seen_tenants": listed["tenants"]}
    counts = page("devices_device_counts")
    assert b"reload" not in client.get(counts, seen).content

    Membership.objects.get(user=consultant, tenant=rival.tenant).delete()

    content = client.get(counts, seen).content
    assert b"You see other devices than before" in content
    assert b"deleted" not in content


def test_only_who_sees_several_tenants_is_shown_them(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    assert "tenant" not in client_of(acme.manager).get(page(LIST)).context["cl"].list_display
    assert "tenant" in client_of(consultant).get(page(LIST)).context["cl"].list_display


def test_the_first_page_counts_and_names_the_silent_of_ones_own(
    silent: Device, acme: Fleet, rival: Fleet
) -> None:
    own = client_of(acme.manager).get(page("index"))
    foreign = client_of(rival.manager).get(page("index"))

    assert {one.state: one.devices for one in own.context["state_counts"]}["offline"] == 1
    assert b"acme-phone" in own.content
    assert "no message for 3\N{NO-BREAK SPACE}min" in own.content.decode()
    assert {one.state: one.devices for one in foreign.context["state_counts"]}["offline"] == 0
    assert b"acme" not in told_by(foreign)


def test_the_first_page_without_devices_leads_only_those_who_may_add_one(
    acme: Fleet, viewer: User
) -> None:
    acme.device.delete()
    add = f'href="{page("devices_device_add")}"'
    assert add in client_of(acme.manager).get(page("index")).content.decode()
    looked_at = client_of(viewer).get(page("index")).content.decode()
    assert "No devices yet: a manager of the tenant adds them." in looked_at
    assert add not in looked_at


def test_the_first_page_has_the_latest_silence_on_top(acme: Fleet) -> None:
    now = timezone.now()
    spoke_s_ago = {"offline": 600, "new-silence": 20, "long-offline": 9000, "offline-too": 600}
    for name, age_s in spoke_s_ago.items():
        device = Device.objects.create(tenant=acme.tenant, device_id=name)
        DeviceStatus.objects.filter(device=device).update(
            state="late" if age_s < 60 else "offline",
            state_since=now - timedelta(seconds=age_s / 2),
            last_seen=now - timedelta(seconds=age_s),
        )

    silent = client_of(acme.manager).get(page("index")).context["silent"]

    shown = [one.device.device_id for one in silent]
    assert shown == ["new-silence", "offline", "offline-too", "long-offline"]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (("new", "new"), "Nobody was heard from yet"),
        (("new", "online"), "No device is late or offline; 1 was never heard from."),
        (("new", "paused"), "No device is late or offline; 1 was never heard from."),
        (("paused", "paused"), "Every device is paused"),
        (("paused", "online"), "Everybody is here"),
        (("online", "offline"), "no message for"),
    ],
)
def test_the_first_page_says_that_everybody_is_here_only_if_they_are(
    acme: Fleet, states: tuple[str, str], words: str
) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="acme-probe")
    for device, state in zip(Device.objects.order_by("pk"), states, strict=True):
        reason = "no message for 3 min" if state == "offline" else ""
        DeviceStatus.objects.filter(device=device).update(state=state, reason=reason)

    content = client_of(acme.manager).get(page("index")).content.decode()

    assert words in content
    assert ("Everybody is here" in content) == (words == "Everybody is here")


def test_a_devices_page_says_how_to_get_a_key_when_it_has_none(acme: Fleet, viewer: User) -> None:
    url, issue = page("devices_device_change", acme.device.pk), "issue one</a>"
    assert issue not in client_of(acme.manager).get(url).content.decode()
    acme.device.credentials.all().delete()

    shown = client_of(acme.manager).get(url).content.decode()
    assert f'href="{page("devices_device_issue_key", acme.device.pk)}">{issue}' in shown
    looked_at = client_of(viewer).get(url).content.decode()
    assert "None yet.</p>" in looked_at
    assert issue not in looked_at

    form = {"device_id": "acme-phone", "name": "Roof", "kind": "phone"}
    form |= {f"credentials-{count}": "0" for count in ("TOTAL_FORMS", "INITIAL_FORMS")}
    assert client_of(acme.manager).post(url, form).status_code == 302
    assert Device.objects.get(pk=acme.device.pk).name == "Roof"


def test_a_devices_page_says_that_nothing_came_yet(acme: Fleet) -> None:
    content = client_of(acme.manager).get(page("devices_device_change", acme.device.pk)).content

    assert b"None yet." in content
    assert b"the latest" not in content


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("phone", "/api/v1/heartbeats", "battery_pct"),
        ("gateway", "/api/v1/heartbeats", "battery_pct"),
        ("sensor", "/api/v1/readings", "metrics"),
        ("probe", "/api/push", "packet_loss"),
    ],
)
def test_a_device_is_told_to_send_what_its_kind_sends(
    acme: Fleet, kind: str, path: str, field: str
) -> None:
    Device.objects.filter(pk=acme.device.pk).update(kind=kind)
    client = client_of(acme.manager)
    for answer in (
        client.get(page("devices_device_presence", acme.device.pk)),
        client.post(page("devices_device_issue_key", acme.device.pk), {"label": ""}),
    ):
        command = unescape(answer.content.decode()).partition("curl -X POST ")[2]
        command = command.partition("</pre>")[0]
        assert f"{path} \\\n" in command
        (body,) = re.findall("-d '(.*)'", command)
        assert field in json.loads(body)


def test_the_page_of_a_device_that_sends_readings_asks_for_no_key(acme: Fleet) -> None:
    url = page("devices_device_presence", acme.device.pk)
    DeviceStatus.objects.filter(device=acme.device).update(last_reading_at=timezone.now())
    assert (
        b"None yet: its readings show that it is alive." in client_of(acme.manager).get(url).content
    )
    Device.objects.filter(pk=acme.device.pk).update(is_pending=True)
    DeviceStatus.objects.filter(device=acme.device).update(last_reading_at=None)
    assert (
        b"None yet: they are stored once it is approved."
        in client_of(acme.manager).get(url).content
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("from 10.0.0.7, battery 12 %", "from 10.0.0.7, battery 12~%"),
        ("after 3 h 10 min; 2 d ahead", "after 3~h 10~min; 2~d ahead"),
        ("paused by kim: 3 devices, 5 steps", "paused by kim: 3 devices, 5 steps"),
    ],
)
def test_no_line_ends_between_a_number_and_its_unit(words: str, shown: str) -> None:
    assert unparted(words) == shown.replace("~", "\N{NO-BREAK SPACE}")


def test_a_devices_page_shows_its_past_and_trusts_no_text(silent: Device, acme: Fleet) -> None:
    content = client_of(acme.manager).get(page("devices_device_change", silent.pk)).content.decode()

    words = content.replace("\N{NO-BREAK SPACE}", " ")
    assert "first heartbeat, from 10.0.0.7, battery 12 %" in words
    assert "late after 90 s, offline after 3 min" in words
    assert "&lt;b&gt;7&lt;/b&gt;" in content
    assert "<b>7</b>" not in content


def test_a_devices_page_shows_vitals_and_readings_by_their_names(acme: Fleet) -> None:
    beat = heartbeat(acme.device, timezone.now(), vitals='{"items": 3, "charging": true}')
    heartbeats_store(heartbeats=[beat])
    url = page("devices_device_change", acme.device.pk)
    content = client_of(acme.manager).get(url).content.decode()
    assert '<dt>items</dt><dd title="3">3</dd>' in content
    assert '<dt>charging</dt><dd title="yes">yes</dd>' in content
    assert "Latest reading" not in content

    at = {"metrics": {"temp_c": 21.5, "items": "eco"}, "last_reading_at": timezone.now()}
    DeviceStatus.objects.filter(device=acme.device).update(**at)
    content = client_of(acme.manager).get(url).content.decode()
    assert '<dt>temp_c</dt><dd title="21.5">21.5</dd>' in content
    assert '<dt>items</dt><dd title="eco">eco</dd>' in content


def test_a_wrong_clock_is_told_in_words(acme: Fleet) -> None:
    now = timezone.now()
    beat = heartbeat(acme.device, now, time=now + timedelta(minutes=12))
    heartbeats_store(heartbeats=[beat])

    page_of_it = page("devices_device_presence", acme.device.pk)
    content = client_of(acme.manager).get(page_of_it).content
    assert b"12 min ahead" in content


def test_another_tenants_device_is_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    client = client_of(rival.manager)

    assert b"acme" not in told_by(client.get(page(LIST)))
    for view in ("change", "delete", "history"):
        assert client.get(page(f"devices_device_{view}", acme.device.pk)).status_code == 302
    assert client.get(page("devices_device_presence", acme.device.pk)).status_code == 404
    for view in ("issue_key", "pause", "resume"):
        url = page(f"devices_device_{view}", acme.device.pk)
        assert client.post(url, {"why": "spite"}).status_code == 403
    for action in ("pause_selected", "resume_selected", "delete_selected"):
        act(client, action, [acme.device], why="spite", post="yes")

    assert acme.device.credentials.count() == 1
    assert reasons_of(acme.device) == []


def test_who_deletes_a_device_is_told_what_stays(acme: Fleet) -> None:
    client = client_of(acme.manager)
    one = client.get(page("devices_device_delete", acme.device.pk))
    several = ask(client, "delete_selected", [acme.device])
    for answer in (one, several):
        assert b"readings, heartbeats and presence of a deleted device stay" in answer.content


def test_a_viewer_looks_and_changes_nothing(acme: Fleet, viewer: User) -> None:
    client = client_of(viewer)
    for user, may_revoke in ((acme.manager, True), (viewer, False)):
        device = client_of(user).get(page("devices_device_change", acme.device.pk)).content.decode()
        assert acme.key.split("_")[1] in device
        assert ("Revoke…" in device) is may_revoke
    answer = client.get(page("devices_device_change", acme.device.pk))

    assert answer.status_code == 200
    assert answer.context["actions_detail"] == []
    assert client.post(page("devices_device_change", acme.device.pk), {}).status_code == 403
    assert client.get(page("devices_device_add")).status_code == 403
    for view in ("issue_key", "pause", "resume"):
        url = page(f"devices_device_{view}", acme.device.pk)
        assert client.post(url, {"why": "spite"}).status_code == 403
    act(client, "pause_selected", [acme.device], why="spite")

    assert acme.device.credentials.count() == 1
    assert reasons_of(acme.device) == []


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


def device_form(**fields: object) -> dict[str, object]:
    formset = {"credentials-TOTAL_FORMS": 0, "credentials-INITIAL_FORMS": 0}
    return {"device_id": "acme-phone", "name": "", "kind": "phone", "site": ""} | formset | fields


def test_a_device_stays_with_its_tenant(acme: Fleet, rival: Fleet, operator: User) -> None:
    url = page("devices_device_change", acme.device.pk)
    form = device_form(tenant=rival.tenant.pk, name="moved")

    assert client_of(operator).post(url, form).status_code == 302
    device = Device.objects.get(pk=acme.device.pk)
    assert (device.name, device.tenant) == ("moved", acme.tenant)


def test_a_device_takes_no_site_of_another_tenant(
    acme: Fleet, rival: Fleet, consultant: User, operator: User
) -> None:
    url = page("devices_device_change", acme.device.pk)

    for user in (acme.manager, consultant, operator):
        form = client_of(user).get(url).context["adminform"].form
        assert list(form.fields["site"].queryset) == [acme.site]
        answer = client_of(user).post(url, device_form(site=rival.site.pk))
        assert answer.status_code == 200
    assert Device.objects.get(pk=acme.device.pk).site is None


def test_a_new_device_goes_only_to_tenants_that_one_manages(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    client = client_of(consultant)
    form = client.get(page("devices_device_add")).context["adminform"].form
    assert list(form.fields["tenant"].queryset) == [acme.tenant]
    assert list(form.fields["site"].queryset) == list(Site.objects.filter(tenant=acme.tenant))

    intruder = device_form(device_id="intruder", tenant=rival.tenant.pk)
    assert client.post(page("devices_device_add"), intruder).status_code == 200
    assert not Device.objects.filter(device_id="intruder").exists()


def test_a_device_id_that_is_taken_is_refused_in_words(acme: Fleet) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="taken")
    url = page("devices_device_change", acme.device.pk)

    answer = client_of(acme.manager).post(url, device_form(device_id="taken"))

    assert b"This tenant has a device with this device ID already." in answer.content


def test_parts_of_pages_are_for_staff_only(acme: Fleet) -> None:
    for name, args in (
        ("devices_device_presence", (acme.device.pk,)),
        ("devices_device_counts", ()),
        ("devices_device_fleet", ()),
    ):
        assert Client().get(page(name, *args)).status_code == 302


@pytest.fixture
def pending(acme: Fleet) -> Device:
    """A device that registered itself."""
    return Device.objects.create(tenant=acme.tenant, device_id="newcomer", is_pending=True)


def test_pending_devices_are_seen_in_the_list_and_on_their_page(
    pending: Device, acme: Fleet
) -> None:
    client = client_of(acme.manager)

    content = client.get(page(LIST)).content
    assert content.count(b'data-state="pending"') == 1
    assert b"registered itself; its messages wait for approval" in content
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
